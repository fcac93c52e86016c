"""Text generation: each engine answers `GenerationRequest`s and can swap its weights in place."""
