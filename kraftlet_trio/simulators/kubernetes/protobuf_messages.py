"""The messages in bodies that kubectl's own commands send, by field number.

``name:type``; a type with ``?`` is a pointer in Go, whose zero is kept; ``[]`` is a list, ``{}``
a map from strings; an empty entry is read over. Source: the ``generated.proto`` of the API.
"""

from __future__ import annotations

from collections.abc import Mapping

_METADATA = "metadata:ObjectMeta"

MESSAGES: Mapping[str, Mapping[int, str]] = {
    "Unknown": {1: "typeMeta:TypeMeta", 2: "raw:bytes"},
    "TypeMeta": {1: "apiVersion:string", 2: "kind:string"},
    "ObjectMeta": {
        1: "name:string",
        2: "generateName:string",
        3: "namespace:string",
        5: "uid:string",
        6: "resourceVersion:string",
        7: "",
        8: "",
        11: "labels:{}string",
        12: "annotations:{}string",
        14: "finalizers:[]string",
    },
    "DeleteOptions": {
        1: "gracePeriodSeconds:int?",
        2: "preconditions:Preconditions",
        4: "propagationPolicy:string",
        5: "dryRun:[]string",
    },
    "Preconditions": {1: "uid:string", 2: "resourceVersion:string"},
    "Namespace": {1: _METADATA, 2: "", 3: ""},
    "ConfigMap": {
        1: _METADATA,
        2: "data:{}string",
        3: "binaryData:{}bytes",
        4: "immutable:bool?",
    },
    "Secret": {
        1: _METADATA,
        2: "data:{}bytes",
        3: "type:string",
        4: "stringData:{}string",
        5: "immutable:bool?",
    },
    "ServiceAccount": {1: _METADATA, 4: "automountServiceAccountToken:bool?"},
    "Service": {1: _METADATA, 2: "spec:ServiceSpec", 3: ""},
    "ServiceSpec": {
        1: "ports:[]ServicePort",
        2: "selector:{}string",
        3: "clusterIP:string",
        4: "type:string",
        5: "externalIPs:[]string",
        7: "sessionAffinity:string",
        10: "externalName:string",
    },
    "ServicePort": {
        1: "name:string",
        2: "protocol:string",
        3: "port:int",
        4: "targetPort:IntOrString",
        5: "nodePort:int",
    },
    "Deployment": {1: _METADATA, 2: "spec:DeploymentSpec", 3: ""},
    "DeploymentSpec": {
        1: "replicas:int?",
        2: "selector:LabelSelector",
        3: "template:PodTemplateSpec",
        4: "strategy:DeploymentStrategy",
        5: "minReadySeconds:int",
        6: "revisionHistoryLimit:int?",
        9: "progressDeadlineSeconds:int?",
    },
    "DeploymentStrategy": {1: "type:string"},
    "LabelSelector": {1: "matchLabels:{}string"},
    "PodTemplateSpec": {1: _METADATA, 2: "spec:PodSpec"},
    "PodSpec": {
        2: "containers:[]Container",
        3: "restartPolicy:string",
        7: "nodeSelector:{}string",
        8: "serviceAccountName:string",
        9: "serviceAccount:string",
    },
    "Container": {
        1: "name:string",
        2: "image:string",
        3: "command:[]string",
        4: "args:[]string",
        5: "workingDir:string",
        6: "ports:[]ContainerPort",
        7: "env:[]EnvVar",
        14: "imagePullPolicy:string",
    },
    "ContainerPort": {1: "name:string", 3: "containerPort:int", 4: "protocol:string"},
    "EnvVar": {1: "name:string", 2: "value:string"},
    "Eviction": {1: _METADATA, 2: "deleteOptions:DeleteOptions"},
    "TokenRequest": {1: _METADATA, 2: "spec:TokenRequestSpec", 3: ""},
    "TokenRequestSpec": {1: "audiences:[]string", 4: "expirationSeconds:int?"},
    "SelfSubjectReview": {1: _METADATA, 2: ""},
    # Everything is allowed, whatever the question.
    "SelfSubjectAccessReview": {1: _METADATA, 2: "", 3: ""},
}
