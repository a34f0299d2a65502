"""What runs inside the training container, on an EC2 box and inside the endpoint; it imports nothing of ours."""
