"""SageMaker's Model Registry: groups, versioned packages, their approval, and models that are made from a package."""
