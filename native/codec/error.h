#pragma once

#include <stdexcept>

namespace gossamer::codec {

// Bytes that no encoder wrote. The Python side turns it into gossamer.errors.FormatError.
struct CodecError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace gossamer::codec
