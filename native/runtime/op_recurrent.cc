// LSTM, GRU and RNN. The products with the input are one matrix product over all steps; each step is one product with the
// hidden state, and gates through the kernels for functions of elements.
//   LSTM: i, o, f, c = gates;  C' = f C + i g(c);  H' = o h(C')          (Hochreiter, Schmidhuber 1997; with peepholes)
//   GRU:  z, r, h = gates;     H' = (1 - z) g(h) + z H                    (Cho et al. 2014)
//   RNN:  H' = f(gate)
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"
#include "runtime/errors.h"
#include "runtime/op.h"

namespace gossamer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// --- activations -----------------------------------------------------------------------------------------------------------

struct Activation {
  std::string name;
  float a = 0, b = 0;
};

struct ActivationRow {
  const char* name;
  float a, b;  // where the node does not say
  bool kernel;
  Unary op;
};
constexpr ActivationRow kActivations[] = {
    {"Sigmoid", 0, 0, true, Unary::sigmoid}, {"Tanh", 0, 0, true, Unary::tanh}, {"Relu", 0, kInfinity, true, Unary::clip},
    {"LeakyRelu", 0.01f, 0, true, Unary::leaky_relu}, {"HardSigmoid", 0.2f, 0.5f, true, Unary::hard_sigmoid},
    {"Elu", 1, 0, true, Unary::elu}, {"Softplus", 0, 0, true, Unary::softplus}, {"Affine", 1, 0, false, Unary::abs},
    {"ThresholdedRelu", 1, 0, false, Unary::abs}, {"ScaledTanh", 1, 1, false, Unary::abs}, {"Softsign", 0, 0, false, Unary::abs},
};

const ActivationRow* find_activation(const std::string& name) {
  for (const ActivationRow& row : kActivations) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

float scalar_activation(const Activation& f, float x) {
  if (f.name == "Affine") return f.a * x + f.b;
  if (f.name == "ThresholdedRelu") return x >= f.a ? x : 0;
  if (f.name == "ScaledTanh") return f.a * std::tanh(f.b * x);
  return x / (1 + std::fabs(x));  // Softsign
}

void activate(const Activation& f, void (*kernel)(const UnaryArgs&), float* x, int64_t n) {
  const ActivationRow* row = find_activation(f.name);
  if (row->kernel) return kernel({row->op, n, x, x, f.a, f.b});
  for (int64_t i = 0; i < n; ++i) x[i] = scalar_activation(f, x[i]);
}

std::vector<float> floats_of(const Node& node, const char* name) {
  const Attribute* found = node.find(name);
  const auto* floats = found ? std::get_if<std::vector<float>>(found) : nullptr;
  return floats ? *floats : std::vector<float>{};
}

// --- what a node says ------------------------------------------------------------------------------------------------------

struct Form {
  int64_t gates, directions, hidden;
  int64_t steps, batch, width;  // of the input
  bool batch_first, reverse, linear_before_reset, coupled;
  float clip;
  std::vector<Activation> activations;  // of all directions
};

std::vector<Activation> activations_of(const Node& node, int64_t directions) {
  std::vector<std::string> names;
  if (const Attribute* found = node.find("activations")) {
    if (const auto* given = std::get_if<std::vector<std::string>>(found)) names = *given;
  }
  const std::vector<std::string> usual = node.op == "LSTM" ? std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"}
                                         : node.op == "GRU" ? std::vector<std::string>{"Sigmoid", "Tanh"} : std::vector<std::string>{"Tanh"};
  for (int64_t d = 0; d < directions && !node.find("activations"); ++d) names.insert(names.end(), usual.begin(), usual.end());
  if (names.size() != usual.size() * static_cast<size_t>(directions)) throw ModelError(node.label() + ": 'activations' has the wrong length");
  const std::vector<float> alphas = floats_of(node, "activation_alpha"), betas = floats_of(node, "activation_beta");
  std::vector<Activation> result;
  for (size_t i = 0; i < names.size(); ++i) {
    const ActivationRow* row = find_activation(names[i]);
    if (!row) throw Unsupported(node.label() + ": the activation '" + names[i] + "'");
    result.push_back({names[i], i < alphas.size() && names[i] != "Relu" ? alphas[i] : row->a, i < betas.size() && names[i] != "Relu" ? betas[i] : row->b});
  }
  return result;
}

Form form_of(const Node& node, const Shape& x, const Shape& w, const Shape& r) {
  if (x.size() != 3 || w.size() != 3 || r.size() != 3) throw ShapeError(node.label() + ": input and weights have three dimensions");
  Form f;
  const std::string direction = node.text("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") throw ModelError(node.label() + ": direction '" + direction + "'");
  f.gates = node.op == "LSTM" ? 4 : node.op == "GRU" ? 3 : 1;
  f.directions = direction == "bidirectional" ? 2 : 1;
  f.reverse = direction == "reverse";
  f.hidden = r[2];
  f.batch_first = node.integer("layout", 0) != 0;
  f.steps = x[f.batch_first ? 1 : 0];
  f.batch = x[f.batch_first ? 0 : 1];
  f.width = x[2];
  f.linear_before_reset = node.integer("linear_before_reset", 0) != 0;
  f.coupled = node.integer("input_forget", 0) != 0;
  f.clip = node.real("clip", kInfinity);
  if (f.hidden < 1 || f.hidden > (1 << 24) || node.integer("hidden_size", f.hidden) != f.hidden) throw ShapeError(node.label() + ": hidden_size does not fit the weights");
  const int64_t rows = f.gates * f.hidden;
  if (w != Shape{f.directions, rows, f.width} || r != Shape{f.directions, rows, f.hidden}) {
    throw ShapeError(node.label() + ": weights of shape " + shape_text(w) + " and " + shape_text(r) + " do not fit an input of " + shape_text(x));
  }
  f.activations = activations_of(node, f.directions);
  return f;
}

Shape state_shape(const Form& f) { return f.batch_first ? Shape{f.batch, f.directions, f.hidden} : Shape{f.directions, f.batch, f.hidden}; }

void infer_recurrent(Inference& n) {
  const Form f = form_of(n.node, n.shape(0), n.shape(1), n.shape(2));
  const auto require = [&](size_t i, const Shape& wanted) {
    if (n.has(i) && n.shape(i) != wanted) n.fail("input " + std::to_string(i) + " has shape " + shape_text(n.shape(i)) + ", where " + shape_text(wanted) + " is due");
  };
  require(3, {f.directions, 2 * f.gates * f.hidden});
  require(4, {f.batch});
  require(5, state_shape(f));
  require(6, state_shape(f));
  require(7, {f.directions, 3 * f.hidden});
  const Shape y = f.batch_first ? Shape{f.batch, f.steps, f.directions, f.hidden} : Shape{f.steps, f.directions, f.batch, f.hidden};
  n.outputs = {y, state_shape(f), state_shape(f)};
}

std::vector<DType> recurrent_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const DType wanted = i == 4 ? DType::int32 : DType::float32;
    if (inputs[i] && inputs[i] != wanted) reject_type(node, i, *inputs[i], dtype_name(wanted));
  }
  return {DType::float32};
}

// --- products --------------------------------------------------------------------------------------------------------------

// Weights (n x k, one row per gate and unit) packed for the matrix kernel: once where they are constant.
struct Weights {
  int64_t n = 0, k = 0;
  PackedWeights::Memory constant;
  Slot from = kNoSlot, scratch = kNoSlot;  // else: packed in every run
  int64_t offset = 0;

  const float* packed(const Run& run, const GemmKernel& kernel) const {
    if (constant) return static_cast<const float*>(constant.get());
    pack_b(k, n, run.at<float>(from) + offset, 1, k, kernel.tile.width, run.at<float>(scratch));
    return run.at<float>(scratch);
  }
};

Weights weights_of(Build& b, const GemmKernel& kernel, size_t input, int64_t offset, int64_t n, int64_t k) {
  Weights w{n, k, nullptr, b.in(input), kNoSlot, offset};
  const int64_t size = packed_size(k, n, kernel.tile.width);
  if (const float* known = b.known_floats(input)) {
    const std::string key = "recurrent:" + std::to_string(b.node.inputs[input]) + ":" + std::to_string(offset) + ":" + std::to_string(n);
    w.constant = b.packed.get(key, [&] {
      Tensor packed = make_tensor(DType::float32, {size});
      pack_b(k, n, known + offset, 1, k, kernel.tile.width, packed.as<float>());
      return packed.data;
    });
  } else {
    w.scratch = b.scratch(size * 4);
  }
  return w;
}

// c (m rows, at `stride`) = a B + what c holds (`adds`), or + bias per column.
void multiply(const GemmKernel& kernel, int64_t m, int64_t n, int64_t k, const float* a, const float* packed, float* c, int64_t stride,
              const float* bias, bool adds) {
  GemmArgs g;
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = a;
  g.a_row = k;
  g.b = packed;
  g.c = c;
  g.c_stride = stride;
  g.column_bias = bias;
  g.residual = adds ? c : nullptr;
  g.low = -kInfinity;
  g.high = kInfinity;
  const int64_t height = tile_height(m, kernel.tile.rows);
  g.tile_end = height ? (m + height - 1) / height : 0;
  g.panel_end = panel_count(n, kernel.tile.width);
  kernel.run(g);
}

// --- one direction ---------------------------------------------------------------------------------------------------------

// Everything that running one direction needs; slots and fixed numbers.
struct Direction {
  Form f;
  int64_t index;
  bool reverse;
  Weights input, hidden, candidate;  // GRU: the candidate's rows of R are apart
  Slot x, bias, lengths, first_h, first_c, peepholes, y, last_h, last_c;
  Slot projected, gates, h, c, reset;  // scratch
  const GemmKernel* gemm;
  void (*unary)(const UnaryArgs&);

  int64_t rows() const { return f.gates * f.hidden; }
  int64_t row_of(int64_t step, int64_t n) const { return f.batch_first ? n * f.steps + step : step * f.batch + n; }
  int64_t state_at(int64_t n) const { return (f.batch_first ? n * f.directions + index : index * f.batch + n) * f.hidden; }
  const Activation& activation(size_t i) const { return f.activations[static_cast<size_t>(index) * f.activations.size() / static_cast<size_t>(f.directions) + i]; }
};

// The sums of both biases; GRU's candidate keeps its own where the reset gate comes after the product.
void add_biases(const Direction& d, const Run& run, float* summed) {
  const float* bias = run.at<float>(d.bias);
  for (int64_t i = 0; i < d.rows(); ++i) {
    const bool apart = d.f.gates == 3 && d.f.linear_before_reset && i >= 2 * d.f.hidden;
    summed[i] = bias ? bias[d.index * 2 * d.rows() + i] + (apart ? 0.0f : bias[d.index * 2 * d.rows() + d.rows() + i]) : 0.0f;
  }
}

void copy_states(const Direction& d, const Run& run, Slot from, Slot to, bool gather) {
  for (int64_t n = 0; n < d.f.batch; ++n) {
    const auto bytes = static_cast<size_t>(d.f.hidden * 4);
    if (gather && from == kNoSlot) std::memset(run.at<float>(to) + n * d.f.hidden, 0, bytes);
    else if (gather) std::memcpy(run.at<float>(to) + n * d.f.hidden, run.at<float>(from) + d.state_at(n), bytes);
    else if (to != kNoSlot) std::memcpy(run.at<float>(to) + d.state_at(n), run.at<float>(from) + n * d.f.hidden, bytes);
  }
}

void clip(const Form& f, float* x, int64_t n) {
  if (f.clip == kInfinity) return;
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -f.clip, f.clip);
}

void lstm_cell(const Direction& d, const Run& run, float* gate, float* h, float* c) {
  const int64_t n = d.f.hidden;
  const float* p = d.peepholes == kNoSlot ? nullptr : run.at<float>(d.peepholes) + d.index * 3 * n;
  float *in = gate, *out = gate + n, *forget = gate + 2 * n, *cell = gate + 3 * n;
  for (int64_t i = 0; p && i < n; ++i) {
    in[i] += p[i] * c[i];
    forget[i] += p[2 * n + i] * c[i];
  }
  clip(d.f, gate, 4 * n);
  activate(d.activation(0), d.unary, in, n);
  activate(d.activation(0), d.unary, forget, n);
  activate(d.activation(1), d.unary, cell, n);
  for (int64_t i = 0; i < n; ++i) {
    if (d.f.coupled) forget[i] = 1 - in[i];
    c[i] = forget[i] * c[i] + in[i] * cell[i];
    if (p) out[i] += p[n + i] * c[i];
    h[i] = c[i];
  }
  activate(d.activation(0), d.unary, out, n);
  activate(d.activation(2), d.unary, h, n);
  for (int64_t i = 0; i < n; ++i) h[i] *= out[i];
}

void gru_cell(const Direction& d, const Run& run, float* gate, float* h, float* reset) {
  const int64_t n = d.f.hidden;
  float *update = gate, *candidate = gate + 2 * n;
  clip(d.f, gate, 2 * n);
  activate(d.activation(0), d.unary, gate, 2 * n);
  const float* bias = run.at<float>(d.bias) && d.f.linear_before_reset ? run.at<float>(d.bias) + (d.index * 2 + 1) * d.rows() + 2 * n : nullptr;
  const float* packed = static_cast<const float*>(d.candidate.constant ? d.candidate.constant.get() : run.at<float>(d.candidate.scratch));
  if (d.f.linear_before_reset) {
    multiply(*d.gemm, 1, n, n, h, packed, reset, n, bias, false);
    for (int64_t i = 0; i < n; ++i) candidate[i] += gate[n + i] * reset[i];
  } else {
    for (int64_t i = 0; i < n; ++i) reset[i] = gate[n + i] * h[i];
    multiply(*d.gemm, 1, n, n, reset, packed, candidate, n, nullptr, true);
  }
  clip(d.f, candidate, n);
  activate(d.activation(1), d.unary, candidate, n);
  for (int64_t i = 0; i < n; ++i) h[i] = (1 - update[i]) * candidate[i] + update[i] * h[i];
}

void cell(const Direction& d, const Run& run, float* gate, int64_t n) {
  float* h = run.at<float>(d.h) + n * d.f.hidden;
  if (d.f.gates == 4) return lstm_cell(d, run, gate, h, run.at<float>(d.c) + n * d.f.hidden);
  if (d.f.gates == 3) return gru_cell(d, run, gate, h, run.at<float>(d.reset));
  clip(d.f, gate, d.f.hidden);
  activate(d.activation(0), d.unary, gate, d.f.hidden);
  std::memcpy(h, gate, static_cast<size_t>(d.f.hidden * 4));
}

int64_t length_of(const Direction& d, const Run& run, int64_t n, const std::string& label) {
  if (d.lengths == kNoSlot) return d.f.steps;
  const int64_t length = run.at<int32_t>(d.lengths)[n];
  if (length < 0 || length > d.f.steps) throw ShapeError(label + ": a sequence of " + std::to_string(length) + " steps");
  return length;
}

void run_step(const Direction& d, const Run& run, int64_t step, const float* packed, const std::string& label) {
  float* gates = run.at<float>(d.gates);
  const auto place = [&](int64_t n) {
    const int64_t length = length_of(d, run, n, label);
    return step >= length ? -1 : d.reverse ? length - 1 - step : step;
  };
  for (int64_t n = 0; n < d.f.batch; ++n) {
    const int64_t at = std::max<int64_t>(place(n), 0);
    std::memcpy(gates + n * d.rows(), run.at<float>(d.projected) + d.row_of(at, n) * d.rows(), static_cast<size_t>(d.rows() * 4));
  }
  multiply(*d.gemm, d.f.batch, d.hidden.n, d.f.hidden, run.at<float>(d.h), packed, gates, d.rows(), nullptr, true);
  for (int64_t n = 0; n < d.f.batch; ++n) {
    const int64_t at = place(n);
    if (at >= 0) cell(d, run, gates + n * d.rows(), n);
    if (d.y == kNoSlot) continue;
    const int64_t when = at >= 0 ? at : step;
    const int64_t row = d.f.batch_first ? (n * d.f.steps + when) * d.f.directions + d.index : (when * d.f.directions + d.index) * d.f.batch + n;
    float* y = run.at<float>(d.y) + row * d.f.hidden;
    if (at >= 0) std::memcpy(y, run.at<float>(d.h) + n * d.f.hidden, static_cast<size_t>(d.f.hidden * 4));
    else std::memset(y, 0, static_cast<size_t>(d.f.hidden * 4));
  }
}

void run_direction(const Direction& d, const Run& run, const std::string& label) {
  copy_states(d, run, d.first_h, d.h, true);
  if (d.f.gates == 4) copy_states(d, run, d.first_c, d.c, true);
  float* bias = run.at<float>(d.gates);  // free until the first step
  add_biases(d, run, bias);
  multiply(*d.gemm, d.f.steps * d.f.batch, d.rows(), d.f.width, run.at<float>(d.x), d.input.packed(run, *d.gemm),
           run.at<float>(d.projected), d.rows(), bias, false);
  const float* packed = d.hidden.packed(run, *d.gemm);
  if (d.f.gates == 3) d.candidate.packed(run, *d.gemm);
  for (int64_t step = 0; step < d.f.steps; ++step) run_step(d, run, step, packed, label);
  copy_states(d, run, d.h, d.last_h, false);
  if (d.f.gates == 4) copy_states(d, run, d.c, d.last_c, false);
}

// --- the operator --------------------------------------------------------------------------------------------------------

Slot given_output(Build& b, size_t i) {
  const bool there = i < b.node.outputs.size() && b.node.outputs[i] != kAbsent && b.outputs[i] && element_count(b.out_shape(i)) > 0;
  return there ? b.slot_of(b.node.outputs[i]) : kNoSlot;
}

Direction direction(Build& b, const Form& f, int64_t index) {
  const GemmKernel& gemm = fastest(kGemmKernels, b.isa);
  const int64_t rows = f.gates * f.hidden, direct = f.gates == 3 ? 2 * f.hidden : rows;  // GRU's candidate is multiplied later
  const int64_t at = index * rows * f.hidden;
  Direction d{f, index, f.reverse || index == 1, weights_of(b, gemm, 1, index * rows * f.width, rows, f.width),
              weights_of(b, gemm, 2, at, direct, f.hidden), {}, b.in(0), b.in(3), b.in(4), b.in(5), b.in(6), b.in(7),
              given_output(b, 0), given_output(b, 1), given_output(b, 2), b.scratch(element_count({f.steps, f.batch, rows}) * 4),
              b.scratch(element_count({std::max<int64_t>(f.batch, 1), rows}) * 4), b.scratch(f.batch * f.hidden * 4), b.scratch(f.batch * f.hidden * 4),
              b.scratch(f.hidden * 4), &gemm, fastest(kUnaryKernels, b.isa).run};
  if (f.gates == 3) d.candidate = weights_of(b, gemm, 2, at + direct * f.hidden, f.hidden, f.hidden);
  return d;
}

Step build_recurrent(Build& b) {
  const Form f = form_of(b.node, b.shape(0), b.shape(1), b.shape(2));
  std::vector<Direction> directions;
  for (int64_t i = 0; i < f.directions; ++i) directions.push_back(direction(b, f, i));
  const bool constant = b.known_floats(1) && b.known_floats(2);
  return {[=, label = b.node.label()](const Run& run) {
            for (const Direction& d : directions) run_direction(d, run, label);
          },
          directions[0].gemm->name, constant ? "" : "the weights are not constant: packed in every run",
          f.directions * element_count({f.steps, f.batch, f.gates * f.hidden}) * (f.width + f.hidden)};
}

constexpr const char* kAttributes = " activation_alpha activation_beta activations clip direction hidden_size input_forget layout linear_before_reset output_sequence ";

constexpr Operator kOperators[] = {
    {"LSTM", 3, 8, kAttributes, recurrent_types, infer_recurrent, build_recurrent},
    {"GRU", 3, 6, kAttributes, recurrent_types, infer_recurrent, build_recurrent},
    {"RNN", 3, 6, kAttributes, recurrent_types, infer_recurrent, build_recurrent},
};

}  // namespace

std::span<const Operator> recurrent_operators() { return kOperators; }

}  // namespace gossamer
