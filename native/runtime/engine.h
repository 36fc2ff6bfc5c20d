// A model ready to run on inputs of any shape that it accepts.
#pragma once

#include "runtime/plan.h"

namespace gossamer {

class Engine {
 public:
  // Plans for a batch of one right away where only the first dimension of the inputs is open, so that what cannot run is
  // found while loading. ModelError, Unsupported.
  Engine(Model model, int threads, Isa isa);

  using Sizes = std::span<const int64_t>;

  // The plan for inputs of these shapes, made if it is not among the kMostPlans last used. ShapeError.
  std::shared_ptr<const Plan> plan(std::span<const Sizes> inputs);

  const Model& model() const { return model_; }
  ThreadPool& pool() { return pool_; }
  Isa isa() const { return isa_; }
  int64_t plans_made() const { return plans_made_; }

  static constexpr size_t kMostPlans = 32;

 private:
  struct Cached {
    std::vector<Shape> shapes;
    std::shared_ptr<const Plan> plan;
  };
  std::shared_ptr<const Plan> find(std::span<const Sizes> inputs);
  void check(const std::vector<Shape>& inputs) const;
  void plan_for_one();

  Model model_;
  const Isa isa_;
  ThreadPool pool_;
  PackedWeights packed_;
  std::mutex cache_mutex_, planning_mutex_;
  std::vector<Cached> cache_;  // last used first
  std::atomic<int64_t> plans_made_{0};
};

}  // namespace gossamer
