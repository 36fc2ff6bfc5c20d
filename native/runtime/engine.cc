#include "runtime/engine.h"

#include <algorithm>

#include "runtime/errors.h"
#include "runtime/load.h"

namespace gossamer {
namespace {

bool same(std::span<const Engine::Sizes> a, const std::vector<Shape>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::equal(a[i].begin(), a[i].end(), b[i].begin(), b[i].end())) return false;
  }
  return true;
}

}  // namespace

Engine::Engine(Model model, int threads, Isa isa) : model_(std::move(model)), isa_(isa), pool_(threads) {
  prepare(model_, isa_);
  cache_.reserve(kMostPlans + 1);
  plan_for_one();
}

void Engine::plan_for_one() {
  std::vector<Shape> shapes;
  for (const Port& port : model_.inputs) {
    if (!port.shape) return;
    Shape shape;
    for (size_t d = 0; d < port.shape->size(); ++d) {
      const auto* size = std::get_if<int64_t>(&(*port.shape)[d]);
      if (!size && d > 0) return;
      shape.push_back(size ? *size : 1);
    }
    shapes.push_back(shape);
  }
  const std::vector<Sizes> views(shapes.begin(), shapes.end());
  try {
    plan(views);
  } catch (const ShapeError& error) {
    throw ModelError(error.what());
  }
}

void Engine::check(const std::vector<Shape>& inputs) const {
  std::map<std::string, int64_t> named;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = model_.inputs[i];
    if (!port.shape) continue;
    const std::string input = "input '" + model_.values[static_cast<size_t>(port.value)].name + "' of shape " + shape_text(inputs[i]);
    if (inputs[i].size() != port.shape->size()) {
      throw ShapeError(input + ": it needs " + std::to_string(port.shape->size()) + " dimensions");
    }
    for (size_t d = 0; d < inputs[i].size(); ++d) {
      int64_t wanted = inputs[i][d];
      std::string why;
      if (const auto* size = std::get_if<int64_t>(&(*port.shape)[d])) wanted = *size;
      if (const auto* name = std::get_if<std::string>(&(*port.shape)[d])) {
        wanted = named.emplace(*name, wanted).first->second;
        why = " ('" + *name + "', as in another place)";
      }
      if (wanted != inputs[i][d]) {
        throw ShapeError(input + ": dimension " + std::to_string(d) + " must be " + std::to_string(wanted) + why);
      }
    }
  }
}

std::shared_ptr<const Plan> Engine::find(std::span<const Sizes> inputs) {
  const std::lock_guard lock(cache_mutex_);
  for (size_t i = 0; i < cache_.size(); ++i) {
    if (!same(inputs, cache_[i].shapes)) continue;
    if (i) std::rotate(cache_.begin(), cache_.begin() + static_cast<int64_t>(i), cache_.begin() + static_cast<int64_t>(i) + 1);
    return cache_.front().plan;
  }
  return nullptr;
}

std::shared_ptr<const Plan> Engine::plan(std::span<const Sizes> inputs) {
  if (auto found = find(inputs)) return found;
  const std::lock_guard planning(planning_mutex_);
  if (auto found = find(inputs)) return found;  // another thread has just made it
  std::vector<Shape> shapes;
  for (const Sizes& sizes : inputs) shapes.emplace_back(sizes.begin(), sizes.end());
  check(shapes);
  auto made = make_plan(model_, shapes, isa_, pool_.threads(), packed_);
  ++plans_made_;
  const std::lock_guard lock(cache_mutex_);
  if (cache_.size() >= kMostPlans) cache_.pop_back();
  cache_.insert(cache_.begin(), {std::move(shapes), made});
  return made;
}

}  // namespace gossamer
