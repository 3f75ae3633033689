//! What lies on disk: the files of a model and the tensors in them.
