import JSON
struct NodeState {}
extension StandInCluster {
    func addNode(_ name: String) {}
    func log(_ target: Target, _ request: APIRequest) throws(APIFailure) -> APIAnswer { throw .pathNotFound }
    func evict(_ target: Target, _ options: DeleteOptions) throws(APIFailure) -> JSONValue { .null }
    func bind(_ key: ObjectKey, to node: String) {}
    func execRequest(_ request: APIRequest) async -> ExecRequest? { nil }
    func exec(_ request: APIRequest, _ streams: ExecStreams) async -> JSONValue { .null }
    func reconcilePod(_ key: ObjectKey) async {}
    func reconcileDeployment(_ key: ObjectKey, _ object: JSONValue) async {}
    func reconcileReplicaSet(_ key: ObjectKey, _ object: JSONValue) async {}
    func reconcileStatefulSet(_ key: ObjectKey, _ object: JSONValue) async {}
    func reconcileDaemonSet(_ key: ObjectKey, _ object: JSONValue) async {}
    func reconcileJob(_ key: ObjectKey, _ object: JSONValue) async {}
    func reconcileCronJob(_ key: ObjectKey, _ object: JSONValue) async {}
    func reconcileBudget(_ key: ObjectKey, _ object: JSONValue) {}
    func reconcileService(_ key: ObjectKey, _ object: JSONValue) {}
}
