#include "runtime/pool.h"

#include <unistd.h>

namespace gossamer {
namespace {

// Steps of a network follow each other within microseconds: look for work that long before sleeping.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : owner_(getpid()) {
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  if (getpid() != owner_) {  // a forked child has no such threads to join
    for (std::thread& worker : workers_) worker.detach();
    return;
  }
  {
    const std::lock_guard lock(sleep_);
    stop_ = true;
    round_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::take_share(int worker) const {
  const int64_t n = threads(), begin = count_ * worker / n, end = count_ * (worker + 1) / n;
  if (begin < end) call_(task_, begin, end, worker);
}

void ThreadPool::run(int64_t count, const void* task, Call call) {
  if (count <= 0) return;
  std::unique_lock busy(busy_, std::defer_lock);
  if (workers_.empty() || count == 1 || getpid() != owner_ || !busy.try_lock()) return call(task, 0, count, 0);
  {
    const std::lock_guard lock(sleep_);
    count_ = count;
    task_ = task;
    call_ = call;
    unfinished_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  take_share(0);
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) relax();
    else std::this_thread::yield();
  }
}

void ThreadPool::work(int worker) {
  uint64_t seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) relax();
    {
      std::unique_lock lock(sleep_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != seen; });
      seen = round_.load(std::memory_order_relaxed);
      if (stop_) return;
    }
    take_share(worker);
    unfinished_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace gossamer
