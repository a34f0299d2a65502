"""SageMaker's Model Registry: which trained models there are, which of them serves, and why others were refused."""
