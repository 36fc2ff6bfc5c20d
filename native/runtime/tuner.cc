#include "runtime/tuner.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/isa.h"

namespace gossamer {
namespace {

// A file begins with this line; each further one is processor, question and answer, separated by tabs.
constexpr const char* kHeader = "gossamer choices 1";
constexpr std::uintmax_t kMostBytes = 1 << 20;

std::string without_separators(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 32; }, ' ');
  return text;
}

}  // namespace

Tuner::Tuner(std::string file)
    : file_(std::move(file)), processor_(without_separators(processor_name())), choices_(read()) {}

size_t Tuner::fastest(const std::string& question, std::span<const std::string> answers,
                      const std::function<double(size_t)>& seconds) {
  const std::lock_guard lock(mutex_);
  if (const auto known = choices_.find(question); known != choices_.end()) {
    const auto answer = std::find(answers.begin(), answers.end(), known->second);
    if (answer != answers.end()) return static_cast<size_t>(answer - answers.begin());
  }
  size_t best = 0;
  double least = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    const double time = seconds(i);
    if (i > 0 && time >= least) continue;
    best = i;
    least = time;
  }
  keep(question, answers[best]);
  return best;
}

// This processor's choices in the file.
Tuner::Choices Tuner::read() const {
  Choices choices;
  std::error_code failed;
  if (file_.empty() || !std::filesystem::is_regular_file(file_, failed)) return choices;
  if (const auto size = std::filesystem::file_size(file_, failed); failed || size > kMostBytes) return choices;
  std::ifstream in(file_);
  std::string line;
  if (!std::getline(in, line) || line != kHeader) return choices;
  while (std::getline(in, line)) {
    const size_t first = line.find('\t'), second = line.find('\t', first + 1);
    if (first == std::string::npos || second == std::string::npos || line.substr(0, first) != processor_) continue;
    choices[line.substr(first + 1, second - first - 1)] = line.substr(second + 1);
  }
  return choices;
}

// The file is written beside its place and moved there, so that no reader ever sees a part of it. Other processors' lines and
// those of other processes are kept, but for what two that write at a moment lose to each other.
void Tuner::keep(const std::string& question, const std::string& answer) {
  choices_[question] = answer;
  if (file_.empty()) return;
  const std::filesystem::path place(file_), beside(file_ + "." + std::to_string(getpid()));
  std::error_code failed;
  std::filesystem::create_directories(place.parent_path(), failed);
  const std::string prefix = processor_ + "\t" + question + "\t";
  std::string text = std::string(kHeader) + "\n" + prefix + answer + "\n";
  std::ifstream in(file_);
  std::string line;
  const bool ours = in && std::getline(in, line) && line == kHeader;
  while (ours && std::getline(in, line) && text.size() + line.size() < kMostBytes) {
    if (line.compare(0, prefix.size(), prefix) != 0) text += line + "\n";
  }
  std::ofstream out(beside, std::ios::trunc);
  out << text;
  out.close();
  if (out) std::filesystem::rename(beside, place, failed);
  else std::filesystem::remove(beside, failed);
}

std::string default_tuner_file() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && *cache == '/') return std::string(cache) + "/gossamer/choices.txt";
  return home && *home == '/' ? std::string(home) + "/.cache/gossamer/choices.txt" : std::string();
}

}  // namespace gossamer
