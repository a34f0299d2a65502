"""The codes of AWS's errors, by what they mean for kennel."""

from __future__ import annotations

NOT_FOUND = {
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchKey",
    "NoSuchEntity",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchUpload",
    "NotFound",
    "NotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "ObjectNotFoundException",
    "InvalidInstanceID.NotFound",
    "InvalidGroup.NotFound",
    "InvalidKeyPair.NotFound",
    "InvalidAMIID.NotFound",
    "ParameterNotFound",
    "RepositoryNotFoundException",
    "404",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AllAccessDisabled", "403"}
NO_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
EXISTS = {
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "EntityAlreadyExists",
    "ResourceAlreadyExistsException",
    "ResourceConflictException",
    "ResourceInUse",
    "ConflictException",
    "DuplicateRecordException",
    "InvalidKeyPair.Duplicate",
    "InvalidGroup.Duplicate",
}
THROTTLED = {
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
"""botocore's list (`botocore.retries.standard.ThrottledRetryableChecker`) without the codes that also mean a quota."""
NO_CAPACITY = {"InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded"}
QUOTA = {
    "ResourceLimitExceeded",
    "LimitExceeded",
    "LimitExceededException",
    "ServiceQuotaExceededException",
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
}
