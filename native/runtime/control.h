// If, Loop and Scan. They never run: a plan is made for one branch and one number of iterations, written out.
#pragma once

#include <functional>

#include "runtime/model.h"

namespace gossamer {

inline constexpr const char* kControlOperators[] = {"If", "Loop", "Scan"};

bool is_control(const Node& node);

// Load time: checks the node and gives its subgraphs' inputs and its outputs their types. `prepare` prepares a subgraph's
// nodes, whose inputs have their types by then. ModelError, Unsupported.
void prepare_control(Model& model, const Node& node, const std::function<void(std::vector<Node>&)>& prepare);

// The numbers that a Scan's attributes say, negative and absent ones resolved.
struct ScanForm {
  size_t states = 0, inputs = 0, outputs = 0;
  std::vector<int64_t> input_axes, output_axes;
  std::vector<bool> input_reversed, output_reversed;
};
ScanForm scan_form(const Node& node);

}  // namespace gossamer
