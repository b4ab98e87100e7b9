"""`glmserve chat`: a conversation on the terminal."""
