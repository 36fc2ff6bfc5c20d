#include "runtime/engine.h"

#include <algorithm>
#include <cstring>

#include "runtime/errors.h"
#include "runtime/load.h"

namespace gossamer {
namespace {

constexpr int64_t kMostDecidingBytes = 1 << 16;  // of an input by whose content plans are told apart

int64_t bytes_of(const Port& port, std::span<const int64_t> sizes) {
  return element_count({sizes.begin(), sizes.end()}) * dtype_size(port.dtype);
}

}  // namespace

Engine::Engine(Model model, int threads, Isa isa, std::unique_ptr<Tuner> tuner, Precision precision)
    : model_(std::move(model)), isa_(isa), pool_(threads), tuner_(std::move(tuner)), precision_(precision) {
  prepare(model_, isa_);
  cache_.reserve(kMostPlans + 1);
  plan_for_one();
}

void Engine::plan_for_one() {
  std::vector<Shape> shapes;
  bool guessed = false;
  for (const Port& port : model_.inputs) {
    if (!port.shape) return;
    Shape shape;
    for (size_t d = 0; d < port.shape->size(); ++d) {
      const auto* size = std::get_if<int64_t>(&(*port.shape)[d]);
      if (!size && d > 0) return;
      guessed = guessed || !size;
      shape.push_back(size ? *size : 1);
    }
    shapes.push_back(shape);
  }
  std::vector<Given> given;
  for (const Shape& shape : shapes) given.push_back({shape, nullptr});
  try {
    plan(given);
  } catch (const NeedsInputs&) {
    // Small inputs decide shapes or branches: the first call brings them.
  } catch (const ShapeError& error) {
    if (!guessed) throw ModelError(error.what());  // else it may want more than one: the first call tells
  }
}

void Engine::check(std::span<const Given> inputs) const {
  std::map<std::string, int64_t> named;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = model_.inputs[i];
    if (!port.shape) continue;
    const Shape shape(inputs[i].sizes.begin(), inputs[i].sizes.end());
    const std::string input = "input '" + model_.values[static_cast<size_t>(port.value)].name + "' of shape " + shape_text(shape);
    if (shape.size() != port.shape->size()) {
      throw ShapeError(input + ": it needs " + std::to_string(port.shape->size()) + " dimensions");
    }
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t wanted = shape[d];
      std::string why;
      if (const auto* size = std::get_if<int64_t>(&(*port.shape)[d])) wanted = *size;
      if (const auto* name = std::get_if<std::string>(&(*port.shape)[d])) {
        wanted = named.emplace(*name, wanted).first->second;
        why = " ('" + *name + "', as in another place)";
      }
      if (wanted != shape[d]) {
        throw ShapeError(input + ": dimension " + std::to_string(d) + " must be " + std::to_string(wanted) + why);
      }
    }
  }
}

bool Engine::fits(std::span<const Given> given, const std::vector<InputValue>& inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& [sizes, content] = given[i];
    if (!std::equal(sizes.begin(), sizes.end(), inputs[i].shape.begin(), inputs[i].shape.end())) return false;
    if (!inputs[i].content) continue;
    const auto bytes = static_cast<size_t>(bytes_of(model_.inputs[i], sizes));
    if (!content || std::memcmp(content, inputs[i].content.get(), bytes) != 0) return false;
  }
  return true;
}

std::shared_ptr<const Plan> Engine::find(std::span<const Given> inputs) {
  const std::lock_guard lock(cache_mutex_);
  for (size_t i = 0; i < cache_.size(); ++i) {
    if (!fits(inputs, cache_[i].inputs)) continue;
    if (i) std::rotate(cache_.begin(), cache_.begin() + static_cast<int64_t>(i), cache_.begin() + static_cast<int64_t>(i) + 1);
    return cache_.front().plan;
  }
  return nullptr;
}

void Engine::decide_by(const NeedsInputs& needs, std::span<const Given> inputs) {
  const size_t before = deciding_.size();
  for (const size_t i : needs.inputs) {
    const std::string name = "input '" + model_.values[static_cast<size_t>(model_.inputs[i].value)].name + "'";
    if (bytes_of(model_.inputs[i], inputs[i].sizes) > kMostDecidingBytes) {
      throw Unsupported(std::string(needs.what()) + ", through " + name + ", which is larger than " +
                        std::to_string(kMostDecidingBytes) + " bytes; shapes may depend on shapes and on small inputs");
    }
    if (!inputs[i].content) throw needs;
    deciding_.insert(i);
  }
  if (deciding_.size() == before) throw Unsupported(std::string(needs.what()) + ", and too much of it for planning");
}

Engine::Cached Engine::make(std::span<const Given> inputs) {
  while (true) {
    std::vector<InputValue> values;
    for (size_t i = 0; i < inputs.size(); ++i) {
      values.push_back({Shape(inputs[i].sizes.begin(), inputs[i].sizes.end()), nullptr});
      if (!deciding_.count(i) || !inputs[i].content) continue;
      const int64_t bytes = bytes_of(model_.inputs[i], inputs[i].sizes);
      if (bytes > kMostDecidingBytes) continue;
      auto content = allocate(bytes);
      std::memcpy(content.get(), inputs[i].content, static_cast<size_t>(bytes));
      values.back().content = std::move(content);
    }
    try {
      auto plan = make_plan(model_, values, isa_, pool_.threads(), packed_, tuner_.get(), precision_);
      return {std::move(values), std::move(plan)};
    } catch (const NeedsInputs& needs) {
      decide_by(needs, inputs);
    }
  }
}

std::shared_ptr<const Plan> Engine::plan(std::span<const Given> inputs) {
  if (auto found = find(inputs)) return found;
  const std::lock_guard planning(planning_mutex_);
  if (auto found = find(inputs)) return found;  // another thread has just made it
  check(inputs);
  Cached made = make(inputs);
  auto plan = made.plan;
  ++plans_made_;
  const std::lock_guard lock(cache_mutex_);
  if (cache_.size() >= kMostPlans) cache_.pop_back();
  cache_.insert(cache_.begin(), std::move(made));
  return plan;
}

}  // namespace gossamer
