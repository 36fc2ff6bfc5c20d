// Bytes of a file's structure: names, shapes, operators. Short, repetitive, and the same words in every file.
#pragma once

#include <cstdint>
#include <span>

#include "codec/bytes.h"

namespace gossamer::codec {

// `primer`: bytes that both sides know; the model has seen them before the first byte of the text.
Bytes encode_text(ByteView text, ByteView primer);
void decode_text(ByteView data, ByteView primer, std::span<uint8_t> out);

}  // namespace gossamer::codec
