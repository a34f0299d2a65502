"""The model server: plays AWS's `pytorch-inference` container around a model's `inference.py`.

One process is one instance. It is started with `python -m localaws.sagemaker.model_server`, reads its environment
(`SM_MODEL_DIR`, `SAGEMAKER_BIND_TO_PORT`, …), loads the model once and answers `GET /ping` and `POST /invocations` on
loopback. It knows nothing of the emulator that starts it and imports neither moto nor torch.
"""
