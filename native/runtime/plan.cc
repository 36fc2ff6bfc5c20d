#include "runtime/plan.h"

#include <chrono>

namespace gossamer {
namespace {

// The clock is read once a step, so that the times add up to that of the run.
void run_timed(std::span<const Step> steps, const Run& run, std::span<int64_t> nanoseconds) {
  using Clock = std::chrono::steady_clock;
  auto before = Clock::now();
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].run(run);
    const auto after = Clock::now();
    nanoseconds[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(after - before).count();
    before = after;
  }
}

}  // namespace

std::unique_ptr<Plan::Context> Plan::take_context() const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
    idle_.reserve(static_cast<size_t>(++made_));  // so that giving it back allocates nothing
  }
  auto context = std::make_unique<Context>();
  context->arena = allocate(arena_bytes + kReadBehind);
  for (const Place& place : places) {
    std::byte* pointer = nullptr;
    if (place.kind == Place::arena) pointer = context->arena.get() + place.at;
    if (place.kind == Place::constant) pointer = const_cast<std::byte*>(place.memory);  // steps only read it
    context->pointers.push_back(pointer);
  }
  return context;
}

int64_t Plan::contexts() const {
  const std::lock_guard lock(mutex_);
  return made_;
}

void Plan::run(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs, ThreadPool& pool,
               std::span<int64_t> nanoseconds) const {
  std::unique_ptr<Context> context = take_context();
  for (size_t slot = 0; slot < places.size(); ++slot) {
    const Place& place = places[slot];
    const auto index = static_cast<size_t>(place.at);
    if (place.kind == Place::input) context->pointers[slot] = const_cast<std::byte*>(inputs[index]);  // only read
    if (place.kind == Place::output) context->pointers[slot] = outputs[index];
  }
  const auto give_back = [&] {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(context));
  };
  try {
    const Run run{context->pointers.data(), &pool};
    if (!nanoseconds.empty()) run_timed(steps, run, nanoseconds);
    else for (const Step& step : steps) step.run(run);
  } catch (...) {
    give_back();
    throw;
  }
  give_back();
}

}  // namespace gossamer
