// What the runtime throws; bind.cc maps each to its class in gossamer.errors.
#pragma once

#include <stdexcept>
#include <string>

namespace gossamer {

// The program is not well formed: FormatError.
struct ModelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An operator, type or feature that the engine does not have: UnsupportedError.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Shapes that do not fit together: FormatError while loading, InputError for the shapes of a call.
struct ShapeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace gossamer
