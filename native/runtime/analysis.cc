#include "runtime/analysis.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "runtime/control.h"
#include "runtime/errors.h"
#include "runtime/load.h"

namespace gossamer {
namespace {

constexpr int64_t kMostFoldedBytes = 1 << 20;  // results of shape arithmetic are small
constexpr int64_t kMostFoldedInAll = 1 << 28;
constexpr int64_t kMostIterations = 10000;
constexpr size_t kMostNodes = 200000;  // with all loops written out
constexpr int64_t kMostCopies = 1000000;  // of nodes and of iterations, on the way

class Analyst {
 public:
  Analyst(const Model& model, Isa isa) : model_(model), isa_(isa) {
    for (size_t i = 0; i < model.values.size(); ++i) add_value();
  }

  Analysis run(const std::vector<InputValue>& inputs) {
    set_known(inputs);
    try {
      for (const Node& node : model_.nodes) visit(node);
    } catch (const NeedsContent& error) {
      throw NeedsInputs(error.what(), origins(error.value));
    }
    return std::move(result_);
  }

 private:
  ValueInfo& info(int value) { return result_.infos[static_cast<size_t>(value)]; }
  int root(int value) const { return result_.roots[static_cast<size_t>(value)]; }

  int add_value() {
    const int value = static_cast<int>(result_.infos.size());
    result_.infos.emplace_back();
    result_.roots.push_back(value);
    return value;
  }

  void set_known(const std::vector<InputValue>& inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      info(model_.inputs[i].value) = {model_.inputs[i].dtype, inputs[i].shape, inputs[i].content.get()};
      if (inputs[i].content) result_.kept_alive.push_back(inputs[i].content);
    }
    for (const auto& [value, constant] : model_.constants) {
      info(value) = {constant.dense.dtype, constant.dense.shape, constant.dense.data.get()};
    }
  }

  std::vector<const ValueInfo*> infos_of(const std::vector<int>& values) {
    std::vector<const ValueInfo*> result;
    for (const int value : values) result.push_back(value == kAbsent ? nullptr : &info(value));
    return result;
  }

  // The inputs of the network on whose content a value depends.
  std::vector<size_t> origins(int value) const {
    std::set<int> wanted{value};
    for (size_t i = result_.nodes.size(); i-- > 0;) {
      const Node& node = *result_.nodes[i];
      const bool made = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int v) { return wanted.count(v) > 0; });
      if (made && node.op != "Shape" && node.op != "Size") wanted.insert(node.inputs.begin(), node.inputs.end());
    }
    std::vector<size_t> inputs;
    for (size_t i = 0; i < model_.inputs.size(); ++i) {
      if (wanted.count(model_.inputs[i].value)) inputs.push_back(i);
    }
    return inputs;
  }

  // --- plain nodes -----------------------------------------------------------------------------------------------------

  void visit(const Node& node) {
    if (node.op == "If") return write_out_if(node);
    if (node.op == "Loop") return write_out_loop(node);
    if (node.op == "Scan") return write_out_scan(node);
    if (result_.nodes.size() >= kMostNodes) throw Unsupported("the network, its loops written out, has more than 200,000 nodes");
    infer(node);
    result_.nodes.push_back(&node);
  }

  void infer(const Node& node) {
    const Operator& op = *find_operator(node.op);
    Inference inference{node, model_.opset, infos_of(node.inputs), {}};
    op.infer(inference);
    const std::vector<DType> types = op.types(node, types_of(node));
    bool small = true;
    for (size_t i = 0; i < node.outputs.size() && i < inference.outputs.size(); ++i) {
      if (node.outputs[i] == kAbsent) continue;
      ValueInfo& output = info(node.outputs[i]);
      output = {types[std::min(i, types.size() - 1)], inference.outputs[i], nullptr};
      small = small && element_count(output.shape) * dtype_size(output.dtype) <= kMostFoldedBytes;
    }
    if (!op.build) {
      result_.roots[static_cast<size_t>(node.outputs[0])] = root(node.inputs[0]);
      info(node.outputs[0]).known = info(node.inputs[0]).known;
    } else if (small && depends_on_known(node) && folded_bytes_ < kMostFoldedInAll) {
      fold(node);
    }
  }

  Types types_of(const Node& node) {
    Types types;
    for (const int value : node.inputs) types.push_back(value == kAbsent ? std::nullopt : std::optional(info(value).dtype));
    return types;
  }

  bool depends_on_known(const Node& node) {
    if (node.op == "Shape" || node.op == "Size") return true;
    return std::all_of(node.inputs.begin(), node.inputs.end(),
                       [&](int value) { return value == kAbsent || info(value).known; });
  }

  void fold(const Node& node) {
    const std::vector<Tensor> results = evaluate(model_, node, infos_of(node.inputs), isa_);
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] == kAbsent) continue;
      info(node.outputs[i]).known = results[i].data.get();
      folded_bytes_ += element_count(results[i].shape) * dtype_size(results[i].dtype);
      result_.kept_alive.push_back(results[i].data);
    }
  }

  // --- control flow ------------------------------------------------------------------------------------------------------

  // A node that only this plan has, visited.
  void make(const std::string& op, const Node& around, std::vector<int> inputs, std::vector<int> outputs,
            std::map<std::string, Attribute, std::less<>> attributes = {}) {
    result_.made.push_back({op, around.name, std::move(inputs), std::move(outputs), std::move(attributes), 0});
    visit(result_.made.back());
  }

  void name_outputs(const Node& node, const std::vector<int>& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (node.outputs[i] != kAbsent) make("Identity", node, {values[i]}, {node.outputs[i]});
    }
  }

  template <class T>
  int add_constant(DType dtype, T content) {
    Tensor tensor = make_tensor(dtype, {});
    *tensor.as<T>() = content;
    result_.kept_alive.push_back(tensor.data);
    const int value = add_value();
    info(value) = {dtype, {}, tensor.data.get()};
    return value;
  }

  // One element whose content the plan depends on.
  const std::byte* content(const Node& node, int value, const char* what) {
    if (!info(value).known) {
      throw NeedsContent(node.label() + ": " + what + " depends on what the network is given", value);
    }
    if (element_count(info(value).shape) != 1) throw ShapeError(node.label() + ": " + what + " is not one element");
    return info(value).known;
  }

  void write_out_if(const Node& node) {
    const bool condition = *content(node, node.inputs[0], "the condition") != std::byte{0};
    const Subgraph& branch = *node.subgraph(condition ? "then_branch" : "else_branch");
    for (const Node& inner : branch.nodes) visit(inner);
    name_outputs(node, branch.outputs);
  }

  // The body once, its inputs standing for `arguments`: what its outputs are called now.
  std::vector<int> write_out(const Subgraph& body, const std::vector<int>& arguments, int64_t iteration) {
    count_copy();
    std::map<int, int> names;
    for (size_t i = 0; i < arguments.size(); ++i) names[body.inputs[i]] = arguments[i];
    const auto renamed = [&](int value) { return names.count(value) ? names[value] : value; };
    write_out_nodes(body.nodes, names, iteration);
    std::vector<int> outputs;
    for (const int value : body.outputs) outputs.push_back(renamed(value));
    return outputs;
  }

  void write_out_nodes(const std::vector<Node>& nodes, std::map<int, int>& names, int64_t iteration) {
    for (const Node& inner : nodes) visit(made_copy(inner, names, iteration));
  }

  // The node with values of its own, its subgraphs too.
  const Node& made_copy(const Node& node, std::map<int, int>& names, int64_t iteration) {
    result_.made.push_back(copy_of(node, names, "[" + std::to_string(iteration) + "]"));
    return result_.made.back();
  }

  void count_copy() {
    if (++copies_ > kMostCopies) throw Unsupported("the network's loops, written out, exceed a million steps");
  }

  Node copy_of(const Node& node, std::map<int, int>& names, const std::string& suffix) {
    count_copy();
    Node copy = node;
    copy.name += suffix;
    for (int& value : copy.inputs) {
      if (names.count(value)) value = names[value];
    }
    for (int& value : copy.outputs) {
      if (value != kAbsent) value = names[value] = add_value();
    }
    for (auto& [key, attribute] : copy.attributes) {
      if (auto* inner = std::get_if<std::shared_ptr<Subgraph>>(&attribute)) *inner = copy_of(**inner, names, suffix);
    }
    return copy;
  }

  std::shared_ptr<Subgraph> copy_of(const Subgraph& graph, std::map<int, int> names, const std::string& suffix) {
    auto copy = std::make_shared<Subgraph>();
    for (const int value : graph.inputs) copy->inputs.push_back(names[value] = add_value());
    for (const Node& node : graph.nodes) copy->nodes.push_back(copy_of(node, names, suffix));
    for (const int value : graph.outputs) copy->outputs.push_back(names.count(value) ? names[value] : value);
    return copy;
  }

  // What each iteration gave, side by side along a new dimension.
  void stack(const Node& node, int output, const std::vector<int>& parts, int64_t axis) {
    if (output == kAbsent) return;
    if (parts.empty()) throw Unsupported(node.label() + ": no iteration runs, so that the shape of a scan output is not known");
    std::vector<int> rows;
    for (const int part : parts) {
      rows.push_back(add_value());
      make("Unsqueeze", node, {part}, {rows.back()}, {{"axes", std::vector<int64_t>{axis}}});
    }
    make("Concat", node, rows, {output}, {{"axis", axis}});
  }

  void write_out_loop(const Node& node) {
    const size_t given = node.inputs.size() - node.captured, states = given < 2 ? 0 : given - 2;
    const Subgraph& body = *node.subgraph("body");
    const bool bounded = given > 0 && node.has_input(0);
    const int64_t most = bounded ? *reinterpret_cast<const int64_t*>(content(node, node.inputs[0], "the number of iterations")) : INT64_MAX;
    int condition = given > 1 && node.has_input(1) ? node.inputs[1] : add_constant<uint8_t>(DType::boolean, 1);
    std::vector<int> values;
    for (size_t i = 0; i < states; ++i) values.push_back(node.inputs[2 + i]);
    std::vector<std::vector<int>> parts(node.outputs.size() - states);
    for (int64_t i = 0; i < most && *content(node, condition, "the condition") != std::byte{0}; ++i) {
      if (i == kMostIterations) throw Unsupported(node.label() + ": more than 10,000 iterations");
      std::vector<int> arguments{add_constant<int64_t>(DType::int64, i), condition};
      arguments.insert(arguments.end(), values.begin(), values.end());
      const std::vector<int> results = write_out(body, arguments, i);
      condition = results[0];
      std::copy_n(results.begin() + 1, states, values.begin());
      for (size_t p = 0; p < parts.size(); ++p) parts[p].push_back(results[1 + states + p]);
    }
    name_outputs(node, values);
    for (size_t p = 0; p < parts.size(); ++p) stack(node, node.outputs[states + p], parts[p], 0);
  }

  int64_t scan_length(const Node& node, const ScanForm& form) {
    int64_t length = -1;
    for (size_t i = 0; i < form.inputs; ++i) {
      const Shape& shape = info(node.inputs[form.states + i]).shape;
      const auto axis = static_cast<size_t>(wrap_axis(form.input_axes[i], static_cast<int64_t>(shape.size()), node));
      if (length >= 0 && shape[axis] != length) throw ShapeError(node.label() + ": its scan inputs differ in length");
      length = shape[axis];
    }
    if (length > kMostIterations) throw Unsupported(node.label() + ": more than 10,000 iterations");
    return length;
  }

  void write_out_scan(const Node& node) {
    const ScanForm form = scan_form(node);
    const Subgraph& body = *node.subgraph("body");
    const int64_t length = scan_length(node, form);
    std::vector<int> values(node.inputs.begin(), node.inputs.begin() + static_cast<int64_t>(form.states));
    std::vector<std::vector<int>> parts(form.outputs);
    for (int64_t i = 0; i < length; ++i) {
      std::vector<int> arguments = values;
      for (size_t s = 0; s < form.inputs; ++s) {
        const int index = add_constant<int64_t>(DType::int64, form.input_reversed[s] ? length - 1 - i : i);
        arguments.push_back(add_value());
        make("Gather", node, {node.inputs[form.states + s], index}, {arguments.back()}, {{"axis", form.input_axes[s]}});
      }
      const std::vector<int> results = write_out(body, arguments, i);
      std::copy_n(results.begin(), form.states, values.begin());
      for (size_t p = 0; p < parts.size(); ++p) parts[p].push_back(results[form.states + p]);
    }
    name_outputs(node, values);
    for (size_t p = 0; p < parts.size(); ++p) {
      if (form.output_reversed[p]) std::reverse(parts[p].begin(), parts[p].end());
      stack(node, node.outputs[form.states + p], parts[p], form.output_axes[p]);
    }
  }

  const Model& model_;
  const Isa isa_;
  Analysis result_;
  int64_t folded_bytes_ = 0, copies_ = 0;
};

}  // namespace

Analysis analyse(const Model& model, const std::vector<InputValue>& inputs, Isa isa) { return Analyst(model, isa).run(inputs); }

}  // namespace gossamer
