"""Media pieces -> unit vectors: batching, caches, weights, downloads, prompt templates."""
