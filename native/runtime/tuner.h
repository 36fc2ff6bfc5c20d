// Choices between ways to do the same, by a short measurement that is kept on disk.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>

namespace gossamer {

// Remembers, for each question, the name of the fastest answer on this kind of processor. Safe to call from several threads.
class Tuner {
 public:
  // `file`: where choices are kept between processes; empty: nowhere. What cannot be read or understood there is as if it
  // were not there, and what cannot be written is measured again next time.
  explicit Tuner(std::string file);

  // The number of the answer with the least seconds. Those that the file names are not measured.
  size_t fastest(const std::string& question, std::span<const std::string> answers, const std::function<double(size_t)>& seconds);

 private:
  using Choices = std::map<std::string, std::string>;
  Choices read() const;
  void keep(const std::string& question, const std::string& answer);

  const std::string file_, processor_;
  std::mutex mutex_;
  Choices choices_;
};

// $XDG_CACHE_HOME/gossamer/choices.txt, or that in $HOME/.cache; empty where neither variable is set to an absolute path.
std::string default_tuner_file();

}  // namespace gossamer
