// placeholder until the codec lands, so that the static library has a source
