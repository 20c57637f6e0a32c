import Foundation
import JSON

extension StandInCluster {
    /// POST: `rest.BeforeCreate` and what follows it ("API concepts", "Creating").
    func create(_ body: JSONValue, _ target: Target, _ options: WriteOptions, by user: User) async throws(APIFailure)
        -> JSONValue
    {
        let type = target.type
        var object = body
        try checkKind(&object, type, options)
        if type.isNamespaced {
            if target.namespace.isEmpty {
                throw .badRequest("an empty namespace may not be set during creation")
            }
            guard object.namespace.isEmpty || object.namespace == target.namespace else {
                throw .badRequest(
                    "the namespace of the provided object does not match the namespace sent on the request")
            }
            object.set(.string(target.namespace), "metadata", "namespace")
        } else {
            object.set(nil, "metadata", "namespace")
        }
        guard object.resourceVersion.isEmpty else {
            throw APIFailure(500, "", "resourceVersion should not be set on objects to be created")
        }
        if object.name.isEmpty {
            guard let prefix = object.metadata["generateName"]?.string, !prefix.isEmpty else {
                throw .invalid(type, "", [("metadata.name", "Required value: name or generateName is required")])
            }
            object.set(.string(prefix.prefix(58) + suffix()), "metadata", "name")
        }
        object.set(.string(newUID()), "metadata", "uid")
        object.set(.string(clock.timestamp), "metadata", "creationTimestamp")
        for name in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "selfLink"] {
            object.set(nil, "metadata", name)
        }
        if type.hasGeneration { object.set(1, "metadata", "generation") }
        if type.hasStatus { object.set(nil, "status") }
        Self.dropEmpty(&object)
        prepareForCreate(&object, type)
        Validation.setDefaults(&object, type)
        try checkNamespace(target)
        object = try await admit(object, old: nil, "CREATE", target, options, by: user)
        Validation.setDefaults(&object, type)
        try Validation.check(object, type)
        // Admission took its time: what it was checked against may have changed.
        try checkNamespace(target)
        let key = ObjectKey(type, target.namespace, object.name)
        guard storage.get(key) == nil else { throw .alreadyExists(type, object.name) }
        var managed = ManagedFields(of: [:])
        managed.update(
            from: [:], to: object, by: .init(name: options.manager, operation: "Update", subresource: ""),
            version: type.groupVersion, time: clock.timestamp)
        object.set(options.managedFields ?? managed.json, "metadata", "managedFields")
        return options.isDryRun ? object : store(key, object)
    }

    private func checkNamespace(_ target: Target) throws(APIFailure) {
        guard target.type.isNamespaced else { return }
        guard let space = find(.namespaces, "", target.namespace) else {
            throw .notFound(.namespaces, target.namespace)
        }
        guard !space.isDeleting else {
            var failure = APIFailure.forbidden(
                "\(target.type.qualified) \"\(target.name)\" is forbidden: unable to create new content in namespace "
                    + "\(target.namespace) because it is being terminated", target.type, target.name)
            failure.details?.set(
                [
                    [
                        "reason": "NamespaceTerminating", "field": "metadata.namespace",
                        "message": .string("namespace \(target.namespace) is being terminated"),
                    ]
                ], "causes")
            throw failure
        }
    }

    private func checkKind(_ object: inout JSONValue, _ type: ResourceType, _ options: WriteOptions) throws(APIFailure)
    {
        guard object.object != nil else { throw .badRequest("the body is no object") }
        object.setDefault(.string(type.kind), "kind")
        object.setDefault(.string(type.groupVersion), "apiVersion")
        guard object["kind"]?.string == type.kind, object["apiVersion"]?.string == type.groupVersion else {
            throw .badRequest(
                "\(type.kind) in version \"\(type.version)\" cannot be handled as a \(type.kind): the API version in "
                    + "the data (\(object["apiVersion"]?.string ?? ""), Kind=\(object["kind"]?.string ?? "")) does not "
                    + "match the expected API version (\(type.groupVersion), Kind=\(type.kind))")
        }
        let unknown = Validation.unknownFields(object, type)
        if options.isStrict, !unknown.isEmpty {
            let list = unknown.map { "unknown field \"\($0)\"" }.joined(separator: ", ")
            throw .badRequest("strict decoding error: \(list)")
        }
        // Unknown outermost fields of built-in kinds are dropped.
        for name in unknown { object.set(nil, name) }
    }

    /// What a kind's strategy sets at creation.
    private func prepareForCreate(_ object: inout JSONValue, _ type: ResourceType) {
        switch type.plural {
        case "pods":
            object.set(["phase": "Pending", "qosClass": "BestEffort"], "status")
            object.setDefault("default", "spec", "serviceAccountName")
            // The admission plugin ServiceAccount.
            if object.at("spec", "imagePullSecrets") == nil {
                let account = object.at("spec", "serviceAccountName")?.string ?? ""
                let secrets = find(.serviceAccounts, object.namespace, account)?["imagePullSecrets"]
                object.set(secrets, "spec", "imagePullSecrets")
            }
        case "jobs":
            // "Jobs", "Specifying your own Pod selector": without one the system makes it.
            guard object.at("spec", "manualSelector")?.bool != true else { return }
            let uid = JSONValue.string(object.uid)
            let labels = [
                "batch.kubernetes.io/controller-uid": uid, "controller-uid": uid,
                "batch.kubernetes.io/job-name": .string(object.name), "job-name": .string(object.name),
            ]
            for (name, value) in labels {
                object.set(value, "spec", "template", "metadata", "labels", name)
            }
            object.set(["batch.kubernetes.io/controller-uid": uid], "spec", "selector", "matchLabels")
        default: break
        }
    }

    /// PUT and PATCH.
    func write(_ verb: String, _ target: Target, _ request: APIRequest, by user: User) async throws(APIFailure)
        -> APIAnswer
    {
        let options = try WriteOptions(request)
        let type = target.type
        let isApply = verb == "patch" && request.contentType == "application/apply-patch+yaml"
        // A patch that meets a concurrent write is applied anew ("API concepts", "Patch"); a PUT is not.
        for _ in 0..<5 {
            guard let stored = storage.get(target.key) else {
                guard isApply, target.subresource.isEmpty else { throw .notFound(type, target.name) }
                return try await createByApply(target, request, options, by: user)
            }
            let old = stored.object
            var new = old
            if verb == "update" {
                new = try request.object()
                if target.subresource == "scale" {
                    let replicas = new.at("spec", "replicas")
                    new = old
                    new.set(replicas, "spec", "replicas")
                } else {
                    try checkKind(&new, type, options)
                    guard new.name == target.name else {
                        throw .badRequest(
                            "the name of the object (\(new.name)) does not match the name on the URL (\(target.name))")
                    }
                }
            } else {
                new = try patched(old, target, request)
            }
            if !new.uid.isEmpty, new.uid != old.uid {
                throw .conflict(
                    type, target.name,
                    "Precondition failed: UID in precondition: \(new.uid), UID in object meta: \(old.uid)")
            }
            if !new.resourceVersion.isEmpty, new.resourceVersion != old.resourceVersion {
                throw .conflict(type, target.name, APIFailure.wasModified)
            }
            new = Self.keepingWhatIsFixed(old, new, target)
            Validation.setDefaults(&new, type)
            try Validation.checkUpdate(from: old, to: new, type)
            if target.subresource.isEmpty {
                new = try await admit(new, old: old, "UPDATE", target, options, by: user)
                new = Self.keepingWhatIsFixed(old, new, target)
                try Validation.check(new, type)
                try Validation.checkUpdate(from: old, to: new, type)
                guard storage.get(target.key)?.revision == stored.revision else {
                    if verb == "update" { throw .conflict(type, target.name, APIFailure.wasModified) }
                    continue
                }
            }
            if !isApply {
                var managed = ManagedFields(of: old)
                managed.update(
                    from: old, to: new,
                    by: .init(name: options.manager, operation: "Update", subresource: target.subresource),
                    version: type.groupVersion, time: clock.timestamp)
                if Self.withoutManagers(old) != Self.withoutManagers(new) {
                    new.set(managed.json, "metadata", "managedFields")
                }
            }
            if type.hasGeneration,
                old["spec"] != new["spec"] || (!type.hasStatus && Self.content(old) != Self.content(new))
            {
                new.set(.integer((old.metadata["generation"]?.int ?? 0) + 1), "metadata", "generation")
            }
            let answer: JSONValue
            if options.isDryRun || new == old {
                answer = new
            } else {
                answer = store(target.key, new)
                // The last finalizer went: the object goes ("Finalizers").
                if new.isDeleting, new.finalizers.isEmpty, isReadyToGo(new, type) { erase(target.key) }
            }
            return APIAnswer(target.subresource == "scale" ? Self.scale(of: answer) : answer)
        }
        throw .conflict(type, target.name, APIFailure.wasModified)
    }

    private static func content(_ object: JSONValue) -> JSONValue {
        var object = object
        object.set(nil, "metadata")
        return object
    }

    private static func withoutManagers(_ object: JSONValue) -> JSONValue {
        var object = object
        object.set(nil, "metadata", "managedFields")
        return object
    }

    /// What a write can't change: what the server sets, the status outside its subresource and everything else in it.
    private static func keepingWhatIsFixed(_ old: JSONValue, _ new: JSONValue, _ target: Target) -> JSONValue {
        var kept = new
        if target.subresource == "status" {
            kept = old
            kept.set(new["status"], "status")
            // Labels and annotations may be changed with the status of a built-in kind; finalizers and owners may not.
            kept.set(new.at("metadata", "labels"), "metadata", "labels")
            kept.set(new.at("metadata", "annotations"), "metadata", "annotations")
            kept.set(new.at("metadata", "managedFields"), "metadata", "managedFields")
        } else if target.type.hasStatus {
            kept.set(old["status"], "status")
        }
        for name in [
            "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
            "generation", "generateName", "resourceVersion",
        ] { kept.set(old.at("metadata", name), "metadata", name) }
        if kept.at("metadata", "managedFields") == nil {
            kept.set(old.at("metadata", "managedFields"), "metadata", "managedFields")
        }
        dropEmpty(&kept)
        return kept
    }

    /// Empty members of the metadata are as if they were not there (`omitempty`).
    private static func dropEmpty(_ object: inout JSONValue) {
        for list in ["finalizers", "ownerReferences"] where object.at("metadata", list)?.array?.isEmpty ?? false {
            object.set(nil, "metadata", list)
        }
        for map in ["labels", "annotations"] where object.at("metadata", map)?.object?.isEmpty ?? false {
            object.set(nil, "metadata", map)
        }
    }

    private static let patchTypes = [
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ]

    private func patched(_ old: JSONValue, _ target: Target, _ request: APIRequest) throws(APIFailure) -> JSONValue {
        let isBuiltIn = ResourceType.standard.contains(target.type)
        // "Strategic merge patch is not supported for custom resources".
        guard Self.patchTypes.contains(request.contentType),
            isBuiltIn || request.contentType != "application/strategic-merge-patch+json"
        else { throw .unsupportedMediaType(Self.patchTypes) }
        if request.contentType == "application/apply-patch+yaml" { return try applied(to: old, target, request) }
        guard request.query["force"] == nil else {
            throw APIFailure(
                422, "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch")
        }
        guard request.body.count <= 3 << 20, let patch = try? JSONValue(parsing: request.body) else {
            throw .badRequest("error decoding patch: it is no JSON")
        }
        switch request.contentType {
        case "application/json-patch+json":
            guard patch.array != nil else {
                throw .badRequest(
                    "json: cannot unmarshal object into Go value of type jsonpatch.Patch")
            }
            do {
                return try JSONPatch.apply(patch, to: old)
            } catch {
                throw .unprocessable(
                    "the server rejected our request due to an error in our request", target.type, target.name)
            }
        case "application/merge-patch+json": return MergePatch.apply(patch, to: old)
        default: return MergePatch.applyStrategic(patch, to: old)
        }
    }

    private func applied(to old: JSONValue, _ target: Target, _ request: APIRequest) throws(APIFailure) -> JSONValue {
        guard let name = request.query["fieldManager"], !name.isEmpty else {
            throw APIFailure(
                422, "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
        }
        var applied = try request.object()
        guard applied["kind"]?.string == target.type.kind,
            applied["apiVersion"]?.string == target.type.groupVersion
        else { throw .badRequest("the apply configuration must name the apiVersion and kind of the object") }
        guard applied.at("metadata", "managedFields") == nil else {
            throw .badRequest("metadata.managedFields must be nil")
        }
        // The status belongs to its subresource alone, and the rest does not belong to it.
        if target.type.hasStatus && target.subresource.isEmpty { applied.set(nil, "status") }
        Self.dropEmpty(&applied)
        let asked = applied.resourceVersion
        do {
            var result = try ServerSideApply.apply(
                applied, to: old, by: .init(name: name, operation: "Apply", subresource: target.subresource),
                force: request.flag("force"), version: target.type.groupVersion, time: clock.timestamp)
            if !asked.isEmpty { result.set(.string(asked), "metadata", "resourceVersion") }
            return result
        } catch {
            let causes = error.causes.map { cause -> JSONValue in
                [
                    "reason": "FieldManagerConflict", "field": .string(cause.field),
                    "message": .string("conflict with \(cause.manager)"),
                ]
            }
            let list = error.causes.map { "conflict with \($0.manager): \($0.field)" }.joined(separator: "\n")
            throw APIFailure(
                409, "Conflict",
                "Apply failed with \(causes.count) conflict\(causes.count == 1 ? "" : "s"): \(list)",
                details: ["causes": .array(causes)])
        }
    }

    private func createByApply(_ target: Target, _ request: APIRequest, _ options: WriteOptions, by user: User)
        async throws(APIFailure) -> APIAnswer
    {
        let whole = try applied(to: [:], target, request)
        var object = try request.object()
        guard object.uid.isEmpty else {
            throw .conflict(
                target.type, target.name,
                "Precondition failed: UID in precondition: \(object.uid), UID in object meta: ")
        }
        object.set(.string(target.name), "metadata", "name")
        var options = options
        options.managedFields = whole.at("metadata", "managedFields")
        return APIAnswer(try await create(object, target, options, by: user), code: 201)
    }
}
