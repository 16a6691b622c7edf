"""The data engine as whole jobs: from a folder of photos to a verified data set, and all that is done to it after."""
