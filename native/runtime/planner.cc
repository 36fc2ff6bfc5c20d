// From a model and the shapes of its inputs to a plan: shapes, what is known, fusion, steps, memory.
#include <algorithm>
#include <cstring>
#include <set>

#include "runtime/arena.h"
#include "runtime/element_chain.h"
#include "runtime/errors.h"
#include "runtime/fusion.h"
#include "runtime/plan.h"

namespace gossamer {
namespace {

class Planner {
 public:
  Planner(const Model& model, Isa isa, int threads, PackedWeights& packed, Tuner* tuner, Precision precision)
      : model_(model), isa_(isa), threads_(threads), packed_(packed), tuner_(tuner), precision_(precision), plan_(std::make_shared<Plan>()) {
  }

  std::shared_ptr<const Plan> plan(const std::vector<InputValue>& inputs) {
    analysis_ = analyse(model_, inputs, isa_);
    plan_->kept_alive = analysis_.kept_alive;
    bind_outputs();
    for (const FusedNode& fused : fuse(model_, analysis_)) build(fused);
    copy_outputs();
    assign_memory();
    for (const int value : model_.outputs) plan_->outputs.push_back(info(value));
    note_contents(inputs);
    return plan_;
  }

 private:
  ValueInfo& info(int value) { return analysis_.infos[static_cast<size_t>(value)]; }
  int root(int value) const { return analysis_.roots[static_cast<size_t>(value)]; }
  int64_t bytes_of(int value) { return element_count(info(value).shape) * dtype_size(info(value).dtype); }

  std::vector<const ValueInfo*> infos_of(const std::vector<int>& values) {
    std::vector<const ValueInfo*> result;
    for (const int value : values) result.push_back(value == kAbsent ? nullptr : &info(value));
    return result;
  }

  // An input whose content the plan was made for.
  void note_contents(const std::vector<InputValue>& inputs) {
    for (size_t i = 0; i < inputs.size() && !plan_->explanations.empty(); ++i) {
      if (!inputs[i].content) continue;
      std::string& note = plan_->explanations.front().note;
      note += (note.empty() ? "" : "; ") + std::string("this plan is for one content of input '") +
              model_.values[static_cast<size_t>(model_.inputs[i].value)].name + "': shapes or branches depend on it";
    }
  }

  // --- memory: one slot per root value, one per scratch request ---------------------------------------------------------

  Slot add_slot(Place place, int64_t bytes) {
    plan_->places.push_back(place);
    buffers_.push_back({bytes, step_, step_});
    return static_cast<Slot>(plan_->places.size()) - 1;
  }

  // The first output of the network that shares a root gets that root's memory; the others are copied from it.
  void bind_outputs() {
    for (size_t i = 0; i < model_.inputs.size(); ++i) {
      slots_[model_.inputs[i].value] = add_slot({Place::input, static_cast<int64_t>(i)}, 0);
    }
    for (size_t i = 0; i < model_.outputs.size(); ++i) {
      const int value = root(model_.outputs[i]);
      if (info(value).known || slots_.count(value)) continue;
      slots_[value] = add_slot({Place::output, static_cast<int64_t>(i)}, 0);
    }
  }

  Slot slot_of(int value) {
    const int owner = root(value);
    auto at = slots_.find(owner);
    if (at == slots_.end()) {
      const std::byte* known = info(owner).known;
      at = slots_.emplace(owner, add_slot({known ? Place::constant : Place::arena, 0, known}, bytes_of(owner))).first;
    }
    Buffer& buffer = buffers_[static_cast<size_t>(at->second)];
    buffer.last = step_;
    return at->second;
  }

  void build(const FusedNode& fused) {
    const Node& node = *fused.node;
    const std::vector<const ValueInfo*> outputs = infos_of(node.outputs);
    const bool empty = std::all_of(outputs.begin(), outputs.end(), [](const ValueInfo* o) { return !o || element_count(o->shape) == 0; });
    if (empty) return;
    PackedWeights alone;
    Build build{node, model_, isa_, threads_, reads_computed(node) ? alone : packed_, fused.epilogue, infos_of(node.inputs), outputs,
                [this](int value) { return slot_of(value); },
                [this](int64_t bytes) { return add_slot({Place::arena}, bytes); },
                [this](Slot slot) { return in_arena(slot); }, {}, fused.result, tuner_, precision_, fused.chain,
                [this](int value) -> const ValueInfo& { return info(value); }};
    const Operator& op = *find_operator(node.op);
    Step step = op.fusion == Fusion::elements && !fused.chain.empty() ? build_element_chain(build) : op.build(build);
    step.add_note(node.note);
    if (step.kernel == "plain loop" && step.note.empty()) step.note = why_plain(build);
    explain(fused, step);
    plan_->steps.push_back(std::move(step));
    take_over(build, fused);
    ++step_;
  }

  // What a loop without a kernel says where its operator has nothing more to say.
  static std::string why_plain(const Build& b) {
    const ValueInfo& about = b.inputs.empty() || !b.inputs[0] ? *b.outputs[0] : *b.inputs[0];
    return "no kernel has this operator for " + std::string(dtype_name(about.dtype)) + ": one element at a time";
  }

  // Whether an input is known in this plan alone: what is packed of it must not be shared with other plans.
  bool reads_computed(const Node& node) {
    return std::any_of(node.inputs.begin(), node.inputs.end(),
                       [&](int v) { return v != kAbsent && info(v).known && !model_.constant(v); });
  }

  // Lets the output have the memory of an input that is not needed any more.
  void take_over(const Build& build, const FusedNode& fused) {
    const auto out = slots_.find(root(fused.result));
    if (out == slots_.end() || !in_arena(out->second)) return;
    for (const int value : build.in_place) {
      const auto at = slots_.find(root(value));
      if (at == slots_.end() || !in_arena(at->second) || at->second == out->second) continue;
      if (bytes_of(value) < bytes_of(fused.result) || is_read_otherwise(fused, value)) continue;
      wishes_.push_back({step_, at->second, out->second});
      return;
    }
  }

  bool in_arena(Slot slot) const { return plan_->places[static_cast<size_t>(slot)].kind == Place::arena; }

  // A residual is read where the result is written; other inputs of a product are read all over.
  bool is_read_otherwise(const FusedNode& fused, int value) const {
    if (fused.epilogue.residual != value) return false;
    const auto& inputs = fused.node->inputs;
    return std::any_of(inputs.begin(), inputs.end(), [&](int i) { return i != kAbsent && root(i) == root(value); });
  }

  void copy_outputs() {
    for (size_t i = 0; i < model_.outputs.size(); ++i) {
      const int value = model_.outputs[i];
      const auto at = slots_.find(root(value));
      const bool bound = at != slots_.end() && plan_->places[static_cast<size_t>(at->second)].kind == Place::output &&
                         plan_->places[static_cast<size_t>(at->second)].at == static_cast<int64_t>(i);
      if (bound || bytes_of(value) == 0) continue;
      const Slot from = slot_of(value), to = add_slot({Place::output, static_cast<int64_t>(i)}, 0);
      const auto bytes = static_cast<size_t>(bytes_of(value));
      plan_->steps.push_back({[=](const Run& run) { std::memcpy(run.at<std::byte>(to), run.at<std::byte>(from), bytes); },
                              "copy", "this output is an input, a constant or another output"});
      plan_->explanations.push_back({"Identity", model_.values[static_cast<size_t>(value)].name, {}, info(value).shape,
                                     "rows", "copy", plan_->steps.back().note, 0, 2 * bytes_of(value), 0});
      ++step_;
    }
  }

  void assign_memory() {
    std::vector<size_t> owner(buffers_.size());
    for (size_t i = 0; i < owner.size(); ++i) owner[i] = i;
    for (const Wish& wish : wishes_) {
      const size_t from = owner[static_cast<size_t>(wish.from)], to = static_cast<size_t>(wish.to);
      if (buffers_[static_cast<size_t>(wish.from)].last != wish.step || buffers_[from].last != wish.step) continue;
      owner[to] = from;
      buffers_[from].last = buffers_[to].last;
    }
    std::vector<Buffer> needed;
    std::vector<size_t> index(buffers_.size());
    for (size_t i = 0; i < buffers_.size(); ++i) {
      index[i] = needed.size();
      if (owner[i] == i && in_arena(static_cast<Slot>(i))) needed.push_back(buffers_[i]);
    }
    plan_->arena_bytes = place_buffers(needed);
    for (size_t i = 0; i < buffers_.size(); ++i) {
      if (in_arena(static_cast<Slot>(i))) plan_->places[i].at = needed[index[owner[i]]].offset;
    }
  }

  void explain(const FusedNode& fused, const Step& step) {
    const Node& node = *fused.node;
    Explanation row{node.op, node.name, {}, info(fused.result).shape, layout_of(fused), step.kernel, step.note,
                    std::max<int64_t>(step.weight_bytes, 0), bytes_of(fused.result), step.macs};
    for (const std::string& op : fused.epilogue.fused) row.op += "+" + op;
    for (const int value : fused.reads()) {
      if (value == kAbsent) continue;
      const bool constant = model_.constant(value) || info(value).known;
      if (!constant) row.inputs.push_back(info(value).shape);
      if (!constant) row.activation_bytes += bytes_of(value);
      else if (step.weight_bytes < 0 || !model_.constant(value) || !model_.constant(value)->is_compressed()) row.weight_bytes += bytes_of(value);
    }
    plan_->explanations.push_back(std::move(row));
  }

  std::string layout_of(const FusedNode& fused) const {
    // What control flow became has values that the model does not know: they are in rows.
    const auto layout = [&](int value) {
      const auto at = static_cast<size_t>(value);
      return at < model_.values.size() && model_.values[at].in_cells ? "cells" : "rows";
    };
    const std::string written = layout(fused.result);
    for (const int value : fused.reads()) {
      if (value == kAbsent || model_.constant(value) || layout(value) == written) continue;
      return layout(value) + (" to " + written);
    }
    return written;
  }

  struct Wish {
    int step;
    Slot from, to;
  };

  const Model& model_;
  const Isa isa_;
  const int threads_;
  PackedWeights& packed_;
  Tuner* const tuner_;
  const Precision precision_;
  std::shared_ptr<Plan> plan_;
  Analysis analysis_;
  std::map<int, Slot> slots_;
  std::vector<Buffer> buffers_;  // by slot
  std::vector<Wish> wishes_;
  int step_ = 0;
};

}  // namespace

std::shared_ptr<const Plan> make_plan(const Model& model, const std::vector<InputValue>& inputs, Isa isa, int threads,
                                      PackedWeights& packed, Tuner* tuner, Precision precision) {
  return Planner(model, isa, threads, packed, tuner, precision).plan(inputs);
}

}  // namespace gossamer
