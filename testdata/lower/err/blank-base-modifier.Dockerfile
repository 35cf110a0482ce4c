FROM ${BASE:?missing}
