// What an operator is to the engine: a row with its types, its shapes and the step that runs it.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "runtime/model.h"
#include "runtime/pool.h"
#include "runtime/tuner.h"

namespace gossamer {

// A place in memory, fixed while a plan exists: an index into Run::pointers.
using Slot = int;
inline constexpr Slot kNoSlot = -1;
// Bytes behind a slot of the arena that may be read (not written) without harm.
inline constexpr int64_t kReadBehind = 64;

// One running of a plan.
struct Run {
  std::byte* const* pointers;
  ThreadPool* pool;

  template <class T>
  T* at(Slot slot) const {
    return slot == kNoSlot ? nullptr : reinterpret_cast<T*>(pointers[slot]);
  }
};

struct Step {
  std::function<void(const Run&)> run;
  std::string kernel;  // a row's name, or what was done instead of running a kernel
  std::string note;  // why a slower path was taken; empty where none was
  int64_t macs = 0;  // multiply-accumulates executed: a pruned weight counts none
  int64_t weight_bytes = -1;  // of constants as the kernel reads them; -1: as they are

  void add_note(const std::string& more);  // behind those that are there
};

// Load time: the element types of a node's outputs from those of its inputs (nothing: absent).
using Types = std::vector<std::optional<DType>>;
using TypeRule = std::vector<DType> (*)(const Node& node, const Types& inputs);

struct ValueInfo {
  DType dtype = DType::float32;
  Shape shape;
  const std::byte* known = nullptr;  // its content, where that does not depend on the inputs' content
};

// Plan time: the shapes of a node's outputs.
struct Inference {
  const Node& node;
  int64_t opset;
  std::vector<const ValueInfo*> inputs;  // null: absent
  std::vector<Shape> outputs;

  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  const Shape& shape(size_t i) const { return inputs[i]->shape; }
  // The content of an int64 or int32 input. Unsupported where it depends on what the network is given.
  std::vector<int64_t> integers(size_t i) const;
  [[noreturn]] void fail(const std::string& why) const;  // ShapeError
};

// What a Requantize (docs/operators.md) makes of sums: one multiplier and shift, or one of each for each column.
struct Requantization {
  const int32_t *multiplier = nullptr, *right_shift = nullptr;
  bool many = false;
  int32_t zero = 0, low = 0, high = 0;
};

// What a fused node does after its own result: + bias per channel, + residual, clamp.
struct Epilogue {
  int bias = kAbsent;  // values
  int residual = kAbsent;
  float low, high;
  std::optional<Requantization> requantization;  // of MatMulInteger, to bytes
  std::vector<std::string> fused;  // labels of the nodes that it stands for
  Epilogue();
  bool clamps() const;
};

// Weights in the form a kernel wants, made once per Engine and shared by its plans.
class PackedWeights {
 public:
  using Memory = std::shared_ptr<const void>;
  // The memory under `key`, made by `make` if it is not there yet.
  Memory get(const std::string& key, const std::function<Memory()>& make);

 private:
  std::mutex mutex_;
  std::map<std::string, Memory> made_;
};

// In what products of floats with constant weights are computed where a kernel has it: bf16 rounds both factors.
enum class Precision { float32, bf16 };

// Plan time: everything that an operator needs to make its step.
class Build {
 public:
  const Node& node;
  const Model& model;
  Isa isa;
  int threads;
  PackedWeights& packed;
  Epilogue epilogue;
  std::vector<const ValueInfo*> inputs;
  std::vector<const ValueInfo*> outputs;
  std::function<Slot(int value)> slot_of;
  std::function<Slot(int64_t bytes)> scratch;  // lives during this step only
  std::function<bool(Slot)> in_arena;  // whether a little more than the slot's bytes may be read
  std::vector<int> in_place;  // values whose memory the output may take over

  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  const Shape& shape(size_t i) const { return inputs[i]->shape; }
  const Shape& out_shape(size_t i = 0) const { return outputs[i]->shape; }
  Slot in(size_t i) const { return has(i) ? slot_of(node.inputs[i]) : kNoSlot; }
  Slot out(size_t i = 0) const { return slot_of(out_value(i)); }
  int out_value(size_t i) const { return i == 0 ? result : node.outputs[i]; }
  int result = kAbsent;  // the value that the step writes: the last fused node's output
  Tuner* tuner = nullptr;  // measures where there are several ways; null: the way is chosen by rule
  Precision precision = Precision::float32;
  std::vector<const Node*> chain = {};  // element-wise nodes that follow and belong to the step
  std::function<const ValueInfo&(int value)> info_of = {};
  Slot optional(int value) const { return value == kAbsent ? kNoSlot : slot_of(value); }
  const Constant* constant(size_t i) const { return has(i) ? model.constant(node.inputs[i]) : nullptr; }
  const float* known_floats(size_t i) const;  // null where not known
};

enum class Fusion {
  none,
  elements,  // functions of float32 elements that follow: a chain, runtime/element_chain.h
  clamp,  // a following Relu or Clip
  affine,  // also a preceding-order bias per channel and a residual: Conv, Gemm, MatMul
};

struct Operator {
  const char* name;
  int min_inputs, max_inputs;  // max_inputs < 0: any number
  const char* attributes;  // those that it understands, between spaces
  TypeRule types;
  void (*infer)(Inference&);
  Step (*build)(Build&);  // null: the output is the first input's memory under another shape
  Fusion fusion = Fusion::none;
};

const Operator* find_operator(std::string_view name);
std::vector<std::string> operator_names();

// Common type rules; each throws Unsupported for other types.
std::vector<DType> float_types(const Node&, const Types&);  // all float32
std::vector<DType> first_type(const Node&, const Types&);  // any; outputs like the first input
std::vector<DType> index_types(const Node&, const Types&);  // outputs int64
[[noreturn]] void reject_type(const Node& node, size_t input, DType dtype, const std::string& have);

// A dimension number that may be negative, as ONNX has them. ShapeError (ModelError) where out of range.
int64_t wrap_axis(int64_t axis, int64_t rank, const Node& node);

Shape broadcast(const Shape& a, const Shape& b, const Node& node);

// Elements of shape[from], ..., shape[to - 1].
int64_t product(const Shape& shape, size_t from, size_t to);

// The tables of the op_*.cc files.
std::span<const Operator> linear_operators();
std::span<const Operator> conv_operators();
std::span<const Operator> pool_operators();
std::span<const Operator> elementwise_operators();
std::span<const Operator> row_operators();
std::span<const Operator> shape_operators();
std::span<const Operator> data_operators();
std::span<const Operator> quantize_operators();
// Those that the engine puts in place of others; no file may name them: kInternal begins their names.
std::span<const Operator> cell_operators();
std::span<const Operator> cell_map_operators();
std::span<const Operator> byte_operators();
std::span<const Operator> attention_operators();
inline constexpr std::string_view kInternal = "gossamer.";
std::span<const Operator> function_operators();
std::span<const Operator> index_operators();
std::span<const Operator> resize_operators();
std::span<const Operator> recurrent_operators();
std::span<const Operator> normalize_operators();
std::span<const Operator> einsum_operators();
std::span<const Operator> rearrange_operators();
std::span<const Operator> select_operators();
std::span<const Operator> window_operators();
std::span<const Operator> integer_operators();
// Those of domain "gossamer", which files may name: kOwn begins their names.
std::span<const Operator> integer_only_operators();
inline constexpr std::string_view kOwn = "gossamer::";

}  // namespace gossamer
