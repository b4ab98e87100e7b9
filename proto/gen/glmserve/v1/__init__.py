"""Generated code of the glmserve.v1 contract."""
