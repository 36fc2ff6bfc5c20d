// A plan: the steps that run a model on inputs of fixed shapes, and the memory that they share.
#pragma once

#include <mutex>

#include "runtime/analysis.h"

namespace gossamer {

// One line of engine.explain().
struct Explanation {
  std::string op;  // with what is fused into it: "Conv+Add+Relu"
  std::string name;
  std::vector<Shape> inputs;  // without constants
  Shape output;
  std::string layout;  // "rows", "cells", or that of what is read and that of what is written
  std::string kernel, note;
  int64_t weight_bytes = 0, activation_bytes = 0, macs = 0;
};

// Where a slot's memory is.
struct Place {
  enum Kind { arena, constant, input, output } kind = arena;
  int64_t at = 0;  // offset in the arena, or number of the input or output
  const std::byte* memory = nullptr;  // of a constant
};

class Plan {
 public:
  std::vector<Step> steps;
  std::vector<Place> places;  // by slot
  int64_t arena_bytes = 0;
  std::vector<ValueInfo> outputs;
  std::vector<Explanation> explanations;
  std::vector<std::shared_ptr<const void>> kept_alive;  // contents computed while planning

  // Runs on inputs and outputs of the planned shapes, row-major. Allocates nothing once as many runs have been under way
  // at a time as are now. Safe to call from several threads. `nanoseconds`: empty, or where to write each step's time.
  void run(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs, ThreadPool& pool,
           std::span<int64_t> nanoseconds = {}) const;

  int64_t contexts() const;

 private:
  // The memory of one run under way: the arena, and each slot's pointer.
  struct Context {
    std::shared_ptr<std::byte[]> arena;
    std::vector<std::byte*> pointers;
  };
  std::unique_ptr<Context> take_context() const;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Context>> idle_;
  mutable int64_t made_ = 0;
};

// `tuner`: null: how each step is computed is chosen by rule.
std::shared_ptr<const Plan> make_plan(const Model& model, const std::vector<InputValue>& inputs, Isa isa, int threads,
                                      PackedWeights& packed, Tuner* tuner, Precision precision);

}  // namespace gossamer
