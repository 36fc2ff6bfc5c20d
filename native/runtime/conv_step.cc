#include "runtime/conv_step.h"

#include <algorithm>
#include <chrono>

#include "kernels/conv/method.h"
#include "runtime/bf16.h"
#include "runtime/coded_weight.h"
#include "runtime/sparse_conv.h"

namespace gossamer {
namespace {

constexpr const char* kSparse = "cell_floats";

// One way to compute a convolution.
struct Way {
  std::string name;  // of its family
  double cycles;  // estimated
  std::function<Step(Build&)> build;
};

// The weights as the method reads them, shared by all plans that use it for them.
PackedWeights::Memory pack(Build& b, const ConvMethod& method, const ConvKernel& kernel, const ConvShape& s) {
  const int64_t size = method.weights_size(s, kernel.tile);
  const std::string key = std::string(kernel.name) + ":" + std::to_string(b.node.inputs[1]) + ":" +
                          std::to_string(s.groups) + ":" + std::to_string(size);
  return b.packed.get(key, [&] {
    Tensor memory = make_tensor(DType::float32, {size});
    Tensor decoded;
    method.pack(s, floats_of(b, 1, decoded), kernel.tile, memory.as<float>());
    return memory.data;
  });
}

// `coded`: none, or what the method reads in place of its own form.
Step method_step(Build& b, const ConvMethod& method, const ConvShape& s, const std::shared_ptr<const PackedCodes>& coded = nullptr) {
  const ConvKernel& kernel = method.kernel(b.isa);
  const auto weights = coded ? nullptr : pack(b, method, kernel, s);
  const Slot decoded = coded ? b.scratch(kDecodedFloats * 4 * b.threads) : kNoSlot;
  ConvArgs fixed;
  fixed.coded = coded ? &coded->panels : nullptr;
  fixed.shape = s;
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  const int64_t floats = method.scratch(s, kernel.tile), tasks = method.tasks(s, kernel.tile);
  const Slot x = b.in(0), y = b.out(), scratch = b.scratch(floats * 4 * b.threads);
  const Slot bias = b.has(2) ? b.in(2) : b.optional(b.epilogue.bias), residual = b.optional(b.epilogue.residual);
  if (residual != kNoSlot) b.in_place.push_back(b.epilogue.residual);
  const Constant* constant = b.constant(1);
  return {[=, run_tasks = kernel.run](const Run& run) {
            run.pool->share(tasks, [&](int64_t begin, int64_t end, int worker) {
              ConvArgs a = fixed;
              if (coded) a.decoded = run.at<float>(decoded) + worker * kDecodedFloats;
              a.weights = static_cast<const float*>(weights.get());
              a.x = run.at<float>(x);
              a.y = run.at<float>(y);
              a.bias = run.at<float>(bias);
              a.residual = run.at<float>(residual);
              a.scratch = run.at<float>(scratch) + worker * floats;
              a.task_begin = begin;
              a.task_end = end;
              run_tasks(a);
            });
          },
          coded ? std::string("codes+") + kernel.name : kernel.name, constant ? constant->note : "",
          s.batch * s.out_channels * s.pixels() * s.depth(), coded ? coded->bytes() : method.weights_size(s, kernel.tile) * 4};
}

constexpr double kWorthDecoding = 1.5;  // so much faster must another method be on decoded weights

// Weights in codes, by the direct method; on decoded ones where that is worth it, or where half of a panel would be empty.
Step coded_step(Build& b, const ConvShape& s, const CodedWeight& w) {
  const std::vector<const ConvMethod*> methods = conv_candidates(s, b.isa);
  const auto cycles = [&](const ConvMethod& method) { return method.cycles(s, method.kernel(b.isa).tile); };
  std::string why = "few output channels in a group";
  const bool fits = std::find(methods.begin(), methods.end(), &kDirectConv) != methods.end();
  if (fits && 2 * s.rows() >= fastest(kCodesKernels, b.isa).width) {
    why = std::string(methods[0]->kernel(b.isa).name) + " is estimated to be much faster";
    const bool direct = cycles(kDirectConv) <= kWorthDecoding * cycles(*methods[0]);
    const auto packed = direct ? pack_coded(b, w, {s.depth(), s.rows(), 1, s.depth(), s.groups}) : nullptr;
    if (packed) return method_step(b, kDirectConv, s, packed);
    if (direct) why = "their scales change along the sum";
  }
  Step step = method_step(b, *methods[0], s);
  step.note = "weights in codes decoded: " + why;
  return step;
}

// --- the choice ----------------------------------------------------------------------------------------------------------

// Those that apply, the one with the least estimated cycles first.
std::vector<Way> ways_of(const Build& b, const ConvShape& s) {
  std::vector<Way> ways;
  for (const ConvMethod* method : conv_candidates(s, b.isa)) {
    const std::string name = method->kernel(b.isa).name;
    const Tile tile = method->kernel(b.isa).tile;
    ways.push_back({name.substr(0, name.find('/')), method->cycles(s, tile), [=](Build& at) { return method_step(at, *method, s); }});
  }
  if (const auto cycles = sparse_conv_cycles(b, s)) {
    ways.push_back({kSparse, *cycles, [=](Build& at) { return sparse_conv_step(at, s); }});
  }
  std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& c) { return a.cycles < c.cycles; });
  return ways;
}

// Seconds that a way takes on one thread, in memory of its own.
double measure(const Build& b, const Way& way) {
  PackedWeights packed;
  std::vector<std::shared_ptr<std::byte[]>> memory;
  std::vector<std::byte*> pointers;
  const auto add = [&](int64_t bytes) {
    memory.push_back(allocate(bytes));
    pointers.push_back(memory.back().get());
    return static_cast<Slot>(pointers.size()) - 1;
  };
  const auto slot_of = [&](int value) {
    for (size_t i = 0; i < b.node.inputs.size(); ++i) {
      if (b.node.inputs[i] == value) return add(element_count(b.shape(i)) * 4);
    }
    return add(element_count(b.out_shape()) * 4);  // the result, a residual, a bias
  };
  Build trial{b.node, b.model, b.isa, 1, packed, b.epilogue, b.inputs, b.outputs, slot_of, add, [](Slot) { return true; }, {}, b.result};
  const Step step = way.build(trial);
  ThreadPool alone(1);
  const Run run{pointers.data(), &alone};
  step.run(run);
  double least = 0;
  for (int i = 0; i < 5; ++i) {
    const auto before = std::chrono::steady_clock::now();
    step.run(run);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    least = i == 0 ? seconds : std::min(least, seconds);
  }
  return least;
}

// What a measurement depends on.
std::string question_of(const Build& b, const ConvShape& s, const std::vector<Way>& ways) {
  std::string text = std::string("conv ") + isa_name(b.isa);
  for (const int64_t size : {s.batch, s.groups, s.in_channels, s.in_h, s.in_w, s.out_channels, s.out_h, s.out_w, s.kernel_h,
                             s.kernel_w, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w, s.pad_top, s.pad_left}) {
    text += " " + std::to_string(size);
  }
  if (std::none_of(ways.begin(), ways.end(), [](const Way& way) { return way.name == kSparse; })) return text;
  const float* weights = b.known_floats(1);
  return text + " zeros " + std::to_string(std::count(weights, weights + s.out_channels * s.depth(), 0.0f));
}

constexpr double kFarOff = 4;  // ways estimated to take so many times as long as the best one are not measured

Step tuned_step(Build& b, const ConvShape& s, std::vector<Way> ways) {
  while (ways.back().cycles > kFarOff * ways.front().cycles) ways.pop_back();
  if (ways.size() == 1) return ways[0].build(b);
  std::vector<std::string> names;
  for (const Way& way : ways) names.push_back(way.name);
  const size_t best = b.tuner->fastest(question_of(b, s, ways), names, [&](size_t i) { return measure(b, ways[i]); });
  Step step = ways[best].build(b);
  if (best != 0) step.add_note("measured: faster than " + names[0]);
  return step;
}

}  // namespace

bool is_product(const ConvShape& s) {
  const bool single = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1;
  return single && s.groups == 1 && s.in_h == s.out_h && s.in_w == s.out_w && s.pad_top == 0 && s.pad_left == 0;
}

void merge_rows(ConvShape& s) {
  constexpr int64_t kMostMerged = 1024;  // pixels
  const bool pointwise = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1;
  if (!pointwise || s.in_h != s.out_h || s.in_w != s.out_w) return;
  int64_t merged = std::min(s.in_h, kMostMerged / s.in_w);
  while (merged > 1 && s.in_h % merged != 0) --merged;
  if (merged <= 1) return;
  s.in_h = s.out_h = s.in_h / merged;
  s.in_w = s.out_w = s.in_w * merged;
}

Step conv_step(Build& b, const ConvShape& shape) {
  if (const CodedWeight* w = coded_input(b, 1)) return coded_step(b, shape, *w);
  const bool bf16 = b.precision == Precision::bf16;
  if (bf16 && is_product(shape)) return bf16_conv_step(b, shape);
  const std::vector<Way> ways = ways_of(b, shape);
  Step step = b.tuner && ways.size() > 1 ? tuned_step(b, shape, ways) : ways[0].build(b);
  if (bf16) step.add_note("float32: only convolutions by single pixels have bfloat16");
  return step;
}

}  // namespace gossamer
