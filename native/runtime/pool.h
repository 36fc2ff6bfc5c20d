// A small pool of threads that one Engine owns. Nothing is allocated after construction.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace gossamer {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // this many including the caller
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(begin, end, worker) on disjoint even shares of [0, count), worker in [0, threads()), and returns when all
  // are done. Where the pool is busy with another caller (or lost to a fork), the caller does all of it: the number of
  // running threads never exceeds the callers plus the pool.
  template <class Task>
  void share(int64_t count, const Task& task) {
    run(count, &task, [](const void* t, int64_t begin, int64_t end, int worker) {
      (*static_cast<const Task*>(t))(begin, end, worker);
    });
  }

 private:
  using Call = void (*)(const void*, int64_t, int64_t, int);

  void run(int64_t count, const void* task, Call call);
  void work(int worker);
  void take_share(int worker) const;

  std::mutex busy_;  // held by the caller whose work the pool does
  std::mutex sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int> unfinished_{0};
  bool stop_ = false;
  int64_t count_ = 0;
  const void* task_ = nullptr;
  Call call_ = nullptr;
  int owner_ = 0;  // process id
  std::vector<std::thread> workers_;
};

}  // namespace gossamer
