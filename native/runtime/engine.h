// A model ready to run on inputs of any shape that it accepts.
#pragma once

#include <set>

#include "runtime/plan.h"

namespace gossamer {

class Engine {
 public:
  // Plans for a batch of one right away where only the first dimension of the inputs is open, so that what cannot run is
  // found while loading. ModelError, Unsupported.
  // `tuner`: measures which way of computing a step is the fastest; nothing: chosen by rule.
  Engine(Model model, int threads, Isa isa, std::unique_ptr<Tuner> tuner = nullptr, Precision precision = Precision::float32);

  // What a call gives for one input.
  struct Given {
    std::span<const int64_t> sizes;
    const std::byte* content = nullptr;  // null: not known
  };

  // The plan for inputs of these shapes, and of these contents where shapes or branches depend on them; made if it is not
  // among the kMostPlans last used. ShapeError, Unsupported.
  std::shared_ptr<const Plan> plan(std::span<const Given> inputs);
  // The same where it is there already, else null.
  std::shared_ptr<const Plan> find(std::span<const Given> inputs);

  const Model& model() const { return model_; }
  ThreadPool& pool() { return pool_; }
  Isa isa() const { return isa_; }
  int64_t plans_made() const { return plans_made_; }

  static constexpr size_t kMostPlans = 32;

 private:
  struct Cached {
    std::vector<InputValue> inputs;
    std::shared_ptr<const Plan> plan;
  };
  bool fits(std::span<const Given> given, const std::vector<InputValue>& inputs) const;
  Cached make(std::span<const Given> inputs);
  void decide_by(const NeedsInputs& needs, std::span<const Given> inputs);
  void check(std::span<const Given> inputs) const;
  void plan_for_one();

  Model model_;
  const Isa isa_;
  ThreadPool pool_;
  PackedWeights packed_;
  const std::unique_ptr<Tuner> tuner_;
  const Precision precision_;
  std::mutex cache_mutex_, planning_mutex_;
  std::set<size_t> deciding_;  // inputs whose content shapes or branches depend on, as far as is known
  std::vector<Cached> cache_;  // last used first
  std::atomic<int64_t> plans_made_{0};
};

}  // namespace gossamer
