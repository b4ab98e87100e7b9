"""Images in requests: fetched, decoded and brought to a model's size, none of which is done in this process."""
