"""The types of the flows' parameters, with their bounds: Prefect checks them before a run starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from tasks.run.naming import RUN_ID_PATTERN

RunId = Annotated[str, StringConstraints(pattern=RUN_ID_PATTERN)]
Backbone = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
InstanceType = Annotated[str, StringConstraints(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
Ec2Type = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9]+$")]
Ec2Count = Annotated[int, Field(ge=0, le=20)]
KeepMinutes = Annotated[int, Field(ge=0, le=240)]
InstanceCount = Annotated[int, Field(ge=1, le=20)]
Epochs = Annotated[int, Field(ge=1, le=1000)]
Views = Annotated[int, Field(ge=1, le=64)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
LearningRate = Annotated[float, Field(gt=0.0, le=10.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seconds = Annotated[int, Field(ge=60, le=5 * 24 * 3600)]
RatePerSecond = Annotated[float, Field(gt=0.0, le=10_000.0)]
SafetyFactor = Annotated[float, Field(ge=0.05, le=0.95)]
DemoPace = Annotated[float, Field(ge=0.1, le=1.0)]
LoadSeconds = Annotated[float, Field(ge=1.0, le=3600.0)]
Processes = Annotated[int, Field(ge=1, le=64)]
AllowedHost = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:*]{1,255}$")]
