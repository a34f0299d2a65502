"""The model server: plays AWS's `pytorch-inference` container around a model's `inference.py`.

One process is one instance. It is started with `python -m localaws.sagemaker.model_server`, reads its environment
(`SM_MODEL_DIR`, `LOCALAWS_LISTENER`, …), loads the model once and answers `GET /ping` and `POST /invocations` on
loopback to who brings its token. It knows nothing of the emulator that starts it and imports neither moto nor torch,
so that the image of tasks/serving/image runs it on AWS.
"""

LISTENER = "LOCALAWS_LISTENER"  # the number of the descriptor of its socket
TOKEN = "LOCALAWS_TOKEN"  # noqa: S105 the variable with what each request has to bring in TOKEN_HEADER
PINGS_EARLY = "LOCALAWS_PINGS_EARLY"  # set where /ping says nothing of the model
TOKEN_HEADER = "x-localaws-token"  # noqa: S105 the name
