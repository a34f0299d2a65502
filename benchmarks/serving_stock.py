"""The server that a user would write with FastAPI, Pillow, torchvision and eager torch; `serving.py` compares with it.

`python benchmarks/serving_stock.py WEIGHTS.safetensors CLASSES PORT`
"""

import io
import sys

import torch
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision import models, transforms

THREADS = 2


def build_app(weights: str, classes: int) -> FastAPI:
    """Return an application that classifies the JPEG in a request's body."""
    torch.set_num_threads(THREADS)
    model = models.resnet50()
    model.fc = nn.Sequential(nn.Linear(2048, 128), nn.ReLU(), nn.Linear(128, classes))
    model.load_state_dict(load_file(weights), strict=False)  # the file has no num_batches_tracked
    model.eval()
    preprocess = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    app = FastAPI()

    @app.get("/ping")
    def ping() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/invocations")
    async def invocations(request: Request) -> dict[str, list[float]]:
        image = Image.open(io.BytesIO(await request.body())).convert("RGB")
        with torch.no_grad():
            logits = model(preprocess(image).unsqueeze(0))
        return {"scores": torch.softmax(logits, dim=1)[0].tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(build_app(sys.argv[1], int(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[3]), log_level="warning")
