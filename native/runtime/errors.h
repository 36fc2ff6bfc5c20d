// What the runtime throws; bind_engine.cc maps each to its class in gossamer.errors.
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

// The same, where it would not be missing if the content of `value` were known while planning.
struct NeedsContent : Unsupported {
  NeedsContent(const std::string& message, int which) : Unsupported(message), value(which) {}
  int value;
};

// Shapes that do not fit together: FormatError while loading, InputError for the shapes of a call.
struct ShapeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace gossamer
