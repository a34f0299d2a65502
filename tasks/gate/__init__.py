"""The gate between a trained model and the deployment: whether a challenger is shown to be better, or not worse."""
