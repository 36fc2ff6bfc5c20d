#include "runtime/plan.h"

namespace gossamer {

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
  context->arena = allocate(arena_bytes);
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

void Plan::run(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs, ThreadPool& pool) const {
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
    for (const Step& step : steps) step.run({context->pointers.data(), &pool});
  } catch (...) {
    give_back();
    throw;
  }
  give_back();
}

}  // namespace gossamer
