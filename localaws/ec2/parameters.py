"""SSM's public parameters for this server's images; moto only has those of Amazon Linux and ECS."""

from typing import Any

import moto.ssm.models as moto_models
from moto.core.utils import utcnow

from localaws.ec2.images import PREFIXES, PUBLISHED
from localaws.ec2.secure_strings import install_secure_strings


class PublishedParameters(moto_models.ParameterDict):
    """The parameters of one region; those of the images come in when a name under their prefixes is asked for."""

    def _check_loading_status(self, key: str) -> None:
        super()._check_loading_status(key)
        if str(key or "").startswith(PREFIXES):
            for image in PUBLISHED:
                self.setdefault(image.parameter, [self._parameter(image.parameter, image.ami_id)])

    def _parameter(self, name: str, value: str) -> moto_models.Parameter:
        return moto_models.Parameter(  # type: ignore[abstract]  # as moto does
            account_id=self.account_id,
            name=name,
            value=value,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=utcnow(),
            version=1,
            data_type="aws:ec2:image",
        )


class PublishingSsm(moto_models.SimpleSystemManagerBackend):
    """SSM of one account and region."""

    __module__ = moto_models.__name__  # moto finds a backend's urls by it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._parameters = PublishedParameters(account_id, region_name)

    def describe_parameters(self, *arguments: Any, **named: Any) -> list[moto_models.Parameter]:
        """Return the account's own parameters; public ones are had by name or path only, as on AWS."""
        found = super().describe_parameters(*arguments, **named)
        return [parameter for parameter in found if not parameter.name.startswith("/aws/service/")]


def install_parameters() -> None:
    """Have moto make `PublishingSsm` for every account and region."""
    moto_models.ssm_backends.backend = PublishingSsm
    install_secure_strings()
