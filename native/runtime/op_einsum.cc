// Einsum: a sum over products of elements, written as "ij,jk->ik". Where two operands are matrices, or become such by a
// transposition, their product is the kernel's of MatMul; all else is plain loops over the output and the summed dimensions.
#include <algorithm>
#include <map>

#include "runtime/errors.h"
#include "runtime/loops.h"
#include "runtime/move.h"
#include "runtime/product.h"

namespace gossamer {
namespace {

constexpr int64_t kMostSummed = 1 << 24;  // their places are written down

// A letter or a dimension of the ellipsis (counted from its last, as -1, -2, ...).
using Label = int;

struct Equation {
  std::vector<std::vector<Label>> inputs;
  std::vector<Label> output;
  std::map<Label, int64_t> sizes;
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The labels of one term; an ellipsis stands for `hidden` dimensions.
std::vector<Label> labels_of(const std::string& term, size_t hidden, const Node& node) {
  std::vector<Label> labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (is_letter(term[i])) {
      labels.push_back(term[i]);
    } else if (term.compare(i, 3, "...") == 0) {
      for (size_t d = hidden; d > 0; --d) labels.push_back(-static_cast<Label>(d));
      i += 2;
    } else {
      throw ModelError(node.label() + ": the equation holds '" + term.substr(i, 1) + "'");
    }
  }
  return labels;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == separator) parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

// Without "->": the letters that occur once, in the order of the alphabet, behind the ellipsis.
std::vector<Label> implied_output(const Equation& e, size_t hidden) {
  std::map<Label, int> uses;
  for (const auto& term : e.inputs) {
    for (const Label label : term) ++uses[label];
  }
  std::vector<Label> output;
  for (size_t d = hidden; d > 0; --d) output.push_back(-static_cast<Label>(d));
  for (const auto& [label, count] : uses) {
    if (label > 0 && count == 1) output.push_back(label);
  }
  return output;
}

void set_sizes(const Inference& n, Equation& e) {
  for (size_t i = 0; i < e.inputs.size(); ++i) {
    const Shape& shape = n.shape(i);
    if (e.inputs[i].size() != shape.size()) n.fail("a term does not fit an input of shape " + shape_text(shape));
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t& size = e.sizes.emplace(e.inputs[i][d], shape[d]).first->second;
      if (size == 1) size = shape[d];
      if (shape[d] != size && shape[d] != 1) n.fail("a letter stands for " + std::to_string(size) + " and " + std::to_string(shape[d]));
    }
  }
  for (const Label label : e.output) {
    if (!e.sizes.count(label)) n.fail("the output has a letter that no input has");
    if (std::count(e.output.begin(), e.output.end(), label) > 1) n.fail("the output has a letter twice");
  }
}

Equation equation_of(const Inference& n) {
  std::string text = n.node.text("equation", "");
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const size_t arrow = text.find("->");
  const std::vector<std::string> terms = split(text.substr(0, arrow), ',');
  if (terms.size() != n.inputs.size()) n.fail("the equation has " + std::to_string(terms.size()) + " terms");
  Equation e;
  size_t hidden = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    const auto letters = static_cast<size_t>(std::count_if(terms[i].begin(), terms[i].end(), is_letter));
    if (terms[i].find("...") != std::string::npos && n.shape(i).size() > letters) hidden = std::max(hidden, n.shape(i).size() - letters);
  }
  for (size_t i = 0; i < terms.size(); ++i) {
    const auto letters = static_cast<size_t>(std::count_if(terms[i].begin(), terms[i].end(), is_letter));
    e.inputs.push_back(labels_of(terms[i], n.shape(i).size() - std::min(letters, n.shape(i).size()), n.node));
  }
  e.output = arrow == std::string::npos ? implied_output(e, hidden) : labels_of(text.substr(arrow + 2), hidden, n.node);
  set_sizes(n, e);
  return e;
}

std::vector<DType> einsum_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) throw ModelError(node.label() + ": input " + std::to_string(i) + " is absent");
    if (inputs[i] == DType::boolean) reject_type(node, i, DType::boolean, "numbers");
    if (inputs[i] != inputs[0]) reject_type(node, i, *inputs[i], std::string(dtype_name(*inputs[0])) + ", as the first input");
  }
  return {*inputs[0]};
}

void infer_einsum(Inference& n) {
  const Equation e = equation_of(n);
  Shape out;
  for (const Label label : e.output) out.push_back(e.sizes.at(label));
  n.outputs = {out};
}

// The strides of one input over some labels: dimensions with the same label add up, broadcast ones count nothing.
Shape strides_over(const std::vector<Label>& labels, const Shape& shape, const std::vector<Label>& order) {
  const Shape own = row_major(shape);
  Shape strides(order.size(), 0);
  for (size_t d = 0; d < labels.size(); ++d) {
    const auto at = std::find(order.begin(), order.end(), labels[d]);
    if (at != order.end() && shape[d] != 1) strides[static_cast<size_t>(at - order.begin())] += own[d];
  }
  return strides;
}

// All dimensions of an equation as nested loops: the output's first, then the summed ones.
struct Loops {
  Shape sizes;
  size_t kept = 0;
  std::vector<Shape> strides;  // by input
};

Loops loops_of(const Equation& e, const Build& b) {
  std::vector<Label> order = e.output;
  for (const auto& [label, size] : e.sizes) {
    if (std::find(order.begin(), order.end(), label) == order.end()) order.push_back(label);
  }
  Loops loops;
  loops.kept = e.output.size();
  for (const Label label : order) loops.sizes.push_back(e.sizes.at(label));
  for (size_t i = 0; i < e.inputs.size(); ++i) loops.strides.push_back(strides_over(e.inputs[i], b.shape(i), order));
  return loops;
}

// The offset of an input at the flat index `at` of dimensions [from, to).
int64_t offset_at(const Loops& loops, size_t input, size_t from, size_t to, int64_t at) {
  int64_t offset = 0;
  for (size_t d = to; d-- > from;) {
    offset += at % loops.sizes[d] * loops.strides[input][d];
    at /= loops.sizes[d];
  }
  return offset;
}

template <class T>
Step einsum_step(Build& b, const Loops& loops) {
  using Sum = std::conditional_t<kIsReal<T>, double, uint64_t>;
  const size_t all = loops.sizes.size();
  const int64_t outputs = product(loops.sizes, 0, loops.kept), summed = product(loops.sizes, loops.kept, all);
  std::vector<Slot> inputs;
  std::vector<std::vector<int64_t>> inner(b.inputs.size());  // each input's offsets over the summed dimensions
  for (size_t i = 0; i < b.inputs.size(); ++i) {
    inputs.push_back(b.in(i));
    for (int64_t k = 0; k < summed; ++k) inner[i].push_back(offset_at(loops, i, loops.kept, all, k));
  }
  const char* note = "no product of two float32 matrices, or of small ones: one element at a time";
  if (inputs.size() == 2) {
    return {[=, y = b.out()](const Run& run) {
              for (int64_t o = 0; o < outputs; ++o) {
                const T* left = run.at<T>(inputs[0]) + offset_at(loops, 0, 0, loops.kept, o);
                const T* right = run.at<T>(inputs[1]) + offset_at(loops, 1, 0, loops.kept, o);
                Sum sum = 0;
                for (size_t k = 0; k < static_cast<size_t>(summed); ++k) sum += static_cast<Sum>(left[inner[0][k]]) * static_cast<Sum>(right[inner[1][k]]);
                run.at<T>(y)[o] = static_cast<T>(sum);
              }
            },
            "plain loop", note, outputs * summed};
  }
  return {[=, y = b.out()](const Run& run) {
            for (int64_t o = 0; o < outputs; ++o) {
              Sum sum = 0;
              for (int64_t k = 0; k < summed; ++k) {
                Sum term = 1;
                for (size_t i = 0; i < inputs.size(); ++i) {
                  const int64_t at = offset_at(loops, i, 0, loops.kept, o) + inner[i][static_cast<size_t>(k)];
                  term *= static_cast<Sum>(run.at<T>(inputs[i])[at]);
                }
                sum += term;
              }
              run.at<T>(y)[o] = static_cast<T>(sum);
            }
          },
          "plain loop", note, outputs * summed};
}

// --- two operands as matrices --------------------------------------------------------------------------------------------

// What each label is to (batch, rows, summed) x (batch, summed, columns).
struct Groups {
  std::vector<Label> batch, rows, columns, summed;
};

bool holds(const std::vector<Label>& labels, Label label) { return std::find(labels.begin(), labels.end(), label) != labels.end(); }

// Whether each dimension of an operand has a letter of its own and is not broadcast.
bool is_plain(const Equation& e, size_t input, const Shape& shape) {
  const std::vector<Label>& labels = e.inputs[input];
  for (size_t d = 0; d < labels.size(); ++d) {
    if (std::count(labels.begin(), labels.end(), labels[d]) > 1 || e.sizes.at(labels[d]) != shape[d]) return false;
  }
  return true;
}

std::optional<Groups> groups_of(const Equation& e, const Build& b) {
  if (e.inputs.size() != 2 || !is_plain(e, 0, b.shape(0)) || !is_plain(e, 1, b.shape(1))) return std::nullopt;
  const auto &left = e.inputs[0], &right = e.inputs[1];
  Groups groups;
  for (const Label label : e.output) (!holds(left, label) ? groups.columns : holds(right, label) ? groups.batch : groups.rows).push_back(label);
  for (const Label label : left) {
    if (holds(e.output, label)) continue;
    if (!holds(right, label)) return std::nullopt;
    groups.summed.push_back(label);
  }
  const bool alone = std::any_of(right.begin(), right.end(), [&](Label label) { return !holds(e.output, label) && !holds(left, label); });
  return alone ? std::nullopt : std::optional(groups);
}

std::vector<Label> joined(const std::vector<Label>& a, const std::vector<Label>& b, const std::vector<Label>& c) {
  std::vector<Label> all = a;
  all.insert(all.end(), b.begin(), b.end());
  all.insert(all.end(), c.begin(), c.end());
  return all;
}

Shape sizes_of(const Equation& e, const std::vector<Label>& labels) {
  Shape sizes;
  for (const Label label : labels) sizes.push_back(e.sizes.at(label));
  return sizes;
}

// The one stride of dimensions [from, to) taken together, where there is one.
std::optional<int64_t> merged_stride(const Shape& sizes, const Shape& strides, size_t from, size_t to) {
  int64_t stride = 0, next = 0;
  for (size_t d = to; d-- > from;) {
    if (sizes[d] == 1) continue;
    if (stride != 0 && strides[d] != next) return std::nullopt;
    if (stride == 0) stride = strides[d];
    next = strides[d] * sizes[d];
  }
  return std::max<int64_t>(stride, 1);
}

// An operand as a batch of matrices: read as it lies, or copied to where it can be.
struct Operand {
  int64_t outer = 1, inner = 1;  // strides
  std::vector<int64_t> offsets;
  Slot moved = kNoSlot;
  Move copy;
};

Operand operand_of(Build& b, const Equation& e, size_t input, const std::vector<Label>& batch, const std::vector<Label>& outer, const std::vector<Label>& inner) {
  const std::vector<Label> order = joined(batch, outer, inner);
  const Shape sizes = sizes_of(e, order);
  Shape strides = strides_over(e.inputs[input], b.shape(input), order);
  const size_t first = batch.size(), middle = first + outer.size();
  const auto own_outer = merged_stride(sizes, strides, first, middle), own_inner = merged_stride(sizes, strides, middle, sizes.size());
  Operand operand;
  if (own_outer && own_inner) {
    operand.outer = *own_outer;
    operand.inner = *own_inner;
  } else {
    operand.copy = move(sizes, row_major(sizes), strides);
    operand.moved = b.scratch(element_count(sizes) * 4);
    strides = row_major(sizes);
    operand.outer = product(sizes, middle, sizes.size());
  }
  const Loops loops{sizes, 0, {strides}};
  for (int64_t i = 0; i < product(sizes, 0, first); ++i) operand.offsets.push_back(offset_at(loops, 0, 0, first, i));
  return operand;
}

// Copies what must be copied before the product and after it.
Step with_copies(Build& b, const Product& p, const Operand& left, const Operand& right, const Move& after) {
  Step step = dense_product(b, p);
  if (!p.is_moved()) return step;
  step.add_note("transposed before or after the product, for its dimensions lie apart");
  step.run = [=, product = std::move(step.run), x = b.in(0), y = b.in(1), out = b.out()](const Run& run) {
    if (left.moved != kNoSlot) run_move(left.copy, 4, run.at<std::byte>(x), run.at<std::byte>(left.moved));
    if (right.moved != kNoSlot) run_move(right.copy, 4, run.at<std::byte>(y), run.at<std::byte>(right.moved));
    product(run);
    if (p.c != kNoSlot) run_move(after, 4, run.at<std::byte>(p.c), run.at<std::byte>(out));
  };
  return step;
}

constexpr int64_t kWorthMultiplying = 64;  // multiply-accumulates of one pair of matrices; below, calling the kernel takes longer

// Nothing where the equation is no product of matrices, or they are too small.
std::optional<Step> product_step(Build& b, const Equation& e) {
  const auto groups = b.inputs[0]->dtype == DType::float32 ? groups_of(e, b) : std::nullopt;
  if (!groups || e.sizes.size() > kMostDimensions) return std::nullopt;
  const auto size = [&](const std::vector<Label>& labels) { return element_count(sizes_of(e, labels)); };
  Product p;
  p.m = size(groups->rows);
  p.n = size(groups->columns);
  p.k = size(groups->summed);
  if (size(groups->batch) == 0 || p.m * p.n == 0 || p.k == 0 || p.m * p.n < kWorthMultiplying / p.k) return std::nullopt;
  const Operand left = operand_of(b, e, 0, groups->batch, groups->rows, groups->summed);
  const Operand right = operand_of(b, e, 1, groups->batch, groups->summed, groups->columns);
  p.a_row = left.outer;
  p.a_k = left.inner;
  p.b_k = right.outer;
  p.b_n = right.inner;
  p.a = left.moved;
  p.b = right.moved;
  if (!groups->batch.empty()) {
    p.a_offsets = left.offsets;
    p.b_offsets = right.offsets;
  }
  const std::vector<Label> order = joined(groups->batch, groups->rows, groups->columns);
  Move after;
  if (order != e.output) {
    const Shape sizes = sizes_of(e, order);
    after = move(sizes, strides_over(e.output, b.out_shape(), order), row_major(sizes));
    p.c = b.scratch(element_count(sizes) * 4);
  }
  return with_copies(b, p, left, right, after);
}

Step build_einsum(Build& b) {
  const Equation equation = equation_of(Inference{b.node, b.model.opset, b.inputs, {}});
  const Loops loops = loops_of(equation, b);
  element_count(loops.sizes);  // ShapeError where the work is beyond all bounds
  if (product(loops.sizes, loops.kept, loops.sizes.size()) > kMostSummed) throw Unsupported(b.node.label() + ": sums of more than 2^24 terms");
  if (auto step = product_step(b, equation)) return *std::move(step);
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return einsum_step<T>(b, loops); });
}

constexpr Operator kOperators[] = {
    {"Einsum", 1, -1, " equation ", einsum_types, infer_einsum, build_einsum},
};

}  // namespace

std::span<const Operator> einsum_operators() { return kOperators; }

}  // namespace gossamer
