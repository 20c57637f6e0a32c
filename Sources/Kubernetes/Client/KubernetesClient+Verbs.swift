package import JSON
import NIOHTTP1

/// What every write may say.
package struct WriteOptions: Sendable {
    /// Who the managed fields belong to.
    package var fieldManager: String
    /// Whether the server only says what would come of it.
    package var isDryRun: Bool
    /// As in `status`, `scale`, `ephemeralcontainers`.
    package var subresource: String?

    package init(fieldManager: String = "cistern", isDryRun: Bool = false, subresource: String? = nil) {
        (self.fieldManager, self.isDryRun, self.subresource) = (fieldManager, isDryRun, subresource)
    }

    fileprivate var query: [(name: String, value: String?)] {
        [("fieldManager", fieldManager), ("dryRun", isDryRun ? "All" : nil)]
    }
}

/// What must hold for a deletion, and what becomes of what the object owns.
package struct DeleteOptions: Sendable {
    package enum Propagation: String, Sendable {
        /// The object goes at once, what it owns later.
        case background = "Background"
        /// What blocks its owner's deletion goes first.
        case foreground = "Foreground"
        /// What it owns stays, without an owner.
        case orphan = "Orphan"
    }

    /// Only the object with this uid, not another one of the same name. A deletion that has it is repeated when its answer
    /// was lost.
    package var uid: String?
    package var resourceVersion: String?
    package var propagation: Propagation?
    /// In seconds.
    package var gracePeriod: Int?
    package var isDryRun = false

    package init(
        uid: String? = nil, resourceVersion: String? = nil, propagation: Propagation? = nil, gracePeriod: Int? = nil
    ) {
        (self.uid, self.resourceVersion, self.propagation) = (uid, resourceVersion, propagation)
        self.gracePeriod = gracePeriod
    }

    fileprivate var body: JSONValue {
        var members: JSONObject = ["kind": "DeleteOptions", "apiVersion": "v1"]
        var preconditions: JSONObject = [:]
        if let uid { preconditions["uid"] = .string(uid) }
        if let resourceVersion { preconditions["resourceVersion"] = .string(resourceVersion) }
        if !preconditions.isEmpty { members["preconditions"] = .object(preconditions) }
        if let propagation { members["propagationPolicy"] = .string(propagation.rawValue) }
        if let gracePeriod { members["gracePeriodSeconds"] = .integer(gracePeriod) }
        if isDryRun { members["dryRun"] = ["All"] }
        return .object(members)
    }
}

/// A step of a JSON patch (RFC 6902). Paths are given by their parts and escaped here (RFC 6901).
package struct JSONPatchOperation: Sendable {
    fileprivate let value: JSONValue

    private init(_ name: String, _ path: [String], _ value: JSONValue? = nil) {
        let pointer = path.map { "/" + $0.replacing("~", with: "~0").replacing("/", with: "~1") }.joined()
        var members: JSONObject = ["op": .string(name), "path": .string(pointer)]
        if let value { members["value"] = value }
        self.value = .object(members)
    }

    /// The whole patch is refused (422) unless the value is there.
    package static func test(_ path: [String], _ value: JSONValue) -> Self { Self("test", path, value) }
    package static func add(_ path: [String], _ value: JSONValue) -> Self { Self("add", path, value) }
    package static func replace(_ path: [String], _ value: JSONValue) -> Self { Self("replace", path, value) }
    package static func remove(_ path: [String]) -> Self { Self("remove", path) }
}

/// All throw `KubernetesError` and `CancellationError`. Namespaces are ignored where objects have none.
extension KubernetesClient {
    package func get(
        _ resource: Resource, namespace: String? = nil, name: String, subresource: String? = nil
    ) async throws -> KubernetesObject {
        let path = try resource.path(namespace: namespace, name: name, subresource: subresource)
        return try await send(Call(path: path, isRepeatable: true, isSecret: resource.isSecret)).object()
    }

    /// What there is at a path below the server's own, as in `/version` or `/apis/apps/v1`.
    package func document(at path: String) async throws -> JSONValue {
        try await send(Call(path: path, isRepeatable: true)).json()
    }

    /// Creates an object once. The namespace is the object's own.
    package func create(
        _ resource: Resource, _ object: KubernetesObject, _ options: WriteOptions = WriteOptions()
    ) async throws -> KubernetesObject {
        let path =
            try resource.path(
                namespace: object.namespace,
                name: options.subresource == nil ? nil : object.name, subresource: options.subresource)
            + query(options.query)
        return try await send(
            Call(
                method: .POST, path: path, body: object.value.canonicalBytes, isRepeatable: false,
                takesTooMany: options.subresource == "eviction", isSecret: resource.isSecret)
        ).object()
    }

    /// Creates an object with a name of its own, and reads back where the answer was lost, so that there is one in the end.
    /// - Parameter isOurs: whether an object of that name is the one that was to be created, by its labels or an
    ///   annotation that nobody else writes. If it is not, the error says that the name is taken.
    package func create(
        _ resource: Resource, _ object: KubernetesObject, _ options: WriteOptions = WriteOptions(),
        isOurs: (KubernetesObject) -> Bool
    ) async throws -> KubernetesObject {
        guard !object.name.isEmpty, options.subresource == nil else {
            throw KubernetesError.configuration("an object without a name can't be read back")
        }
        var number = 0
        while true {
            number += 1
            let failure: KubernetesError
            do { return try await create(resource, object, options) } catch let error as KubernetesError {
                failure = error
            }
            switch failure {
            case .unknown: break
            case .refused(let status) where status.code == 409: break
            default: throw failure
            }
            do {
                let found = try await get(resource, namespace: object.namespace, name: object.name)
                guard isOurs(found) else {
                    throw KubernetesError.refused(
                        APIStatus(code: 409, reason: "AlreadyExists", message: "\(object.key) is somebody else's"))
                }
                return found
            } catch let error as KubernetesError where error.isNotFound {
                // It has not been done, or is gone again: both names are free.
                guard number < limits.attempts else { throw failure }
                try await timing.pause(pause(after: number))
            }
        }
    }

    /// Replaces an object whose resource version is still the one that it was read with.
    package func replace(
        _ resource: Resource, _ object: KubernetesObject, _ options: WriteOptions = WriteOptions()
    ) async throws -> KubernetesObject {
        let path =
            try resource.path(namespace: object.namespace, name: object.name, subresource: options.subresource)
            + query(options.query)
        return try await send(
            Call(
                method: .PUT, path: path, body: object.value.canonicalBytes, isRepeatable: false,
                isSecret: resource.isSecret)
        ).object()
    }

    /// Reads an object, changes it and replaces it, again if somebody else was faster or the answer was lost.
    /// - Parameter change: called for each state that is read; it returns nil where nothing is to be changed (any more),
    ///   so an answer that was lost is found out by it.
    /// - Returns: the object as it is then.
    package func update(
        _ resource: Resource, namespace: String? = nil, name: String, _ options: WriteOptions = WriteOptions(),
        _ change: (KubernetesObject) throws -> KubernetesObject?
    ) async throws -> KubernetesObject {
        var number = 0
        while true {
            number += 1
            let read = try await get(resource, namespace: namespace, name: name)
            guard let changed = try change(read), changed != read else { return read }
            do { return try await replace(resource, changed, options) } catch let error as KubernetesError {
                if case .unknown = error {} else if !error.isConflict { throw error }
                guard number < limits.attempts else { throw error }
            }
            try await timing.pause(pause(after: number))
        }
    }

    /// Server-side apply (Kubernetes documentation, "Server-Side Apply"): the server makes the object have these fields,
    /// creates it if it is not there, and remembers that they are this manager's.
    /// - Parameters:
    ///   - object: with apiVersion, kind and name, and only the fields that are to be owned.
    ///   - force: whether fields of other managers are taken over; otherwise they are conflicts (409), named by the
    ///     status' causes.
    package func apply(
        _ resource: Resource, _ object: KubernetesObject, force: Bool, _ options: WriteOptions = WriteOptions()
    ) async throws -> KubernetesObject {
        try await patch(
            resource, object.namespace, object.name, "application/apply-patch+yaml", object.value, options,
            [("force", force ? "true" : nil)])
    }

    /// A JSON patch (RFC 6902), whole or not at all.
    package func patch(
        _ resource: Resource, namespace: String? = nil, name: String, _ operations: [JSONPatchOperation],
        _ options: WriteOptions = WriteOptions()
    ) async throws -> KubernetesObject {
        try await patch(
            resource, namespace, name, "application/json-patch+json", .array(operations.map(\.value)), options)
    }

    /// A JSON merge patch (RFC 7396): null removes a member, an array replaces the whole one.
    package func mergePatch(
        _ resource: Resource, namespace: String? = nil, name: String, _ patch: JSONValue,
        _ options: WriteOptions = WriteOptions()
    ) async throws -> KubernetesObject {
        try await self.patch(resource, namespace, name, "application/merge-patch+json", patch, options)
    }

    private func patch(
        _ resource: Resource, _ namespace: String?, _ name: String, _ contentType: String, _ body: JSONValue,
        _ options: WriteOptions, _ more: [(name: String, value: String?)] = []
    ) async throws -> KubernetesObject {
        let path =
            try resource.path(namespace: namespace, name: name, subresource: options.subresource)
            + query(options.query + more)
        return try await send(
            Call(
                method: .PATCH, path: path, body: body.canonicalBytes, contentType: contentType, isRepeatable: false,
                isSecret: resource.isSecret)
        ).object()
    }

    /// Asks for an object's deletion.
    /// - Returns: the object where it waits for finalizers or a grace period, nil where it is gone.
    @discardableResult
    package func delete(
        _ resource: Resource, namespace: String? = nil, name: String, _ options: DeleteOptions = DeleteOptions()
    ) async throws -> KubernetesObject? {
        let path = try resource.path(namespace: namespace, name: name)
        let answer = try await send(
            Call(
                method: .DELETE, path: path, body: options.body.canonicalBytes, isRepeatable: options.uid != nil,
                isSecret: resource.isSecret)
        ).object()
        return answer.kind == "Status" || !answer.isBeingDeleted ? nil : answer
    }
}
