// A row of a kernel table by its name, for check.h.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels/isa.h"

namespace gossamer {

// The row of that name; nothing for "family/reference". std::invalid_argument for another name, or for an instruction
// set that this machine lacks.
template <class AnyRow, size_t kRows>
const AnyRow* find_row(const AnyRow (&table)[kRows], const std::string& name) {
  const std::string first = table[0].name;
  if (name == first.substr(0, first.find('/')) + "/reference") return nullptr;
  for (const AnyRow& row : table) {
    if (name == row.name && row.isa <= machine_isa()) return &row;
  }
  throw std::invalid_argument("no kernel '" + name + "' on this machine");
}

}  // namespace gossamer
