import Foundation
import JSON

/// `DeleteOptions`, from the body or else the query.
struct DeleteOptions {
    enum Propagation: String {
        case background = "Background"
        case foreground = "Foreground"
        case orphan = "Orphan"
    }

    var grace: Int?
    var propagation: Propagation?
    var uid: String?
    var resourceVersion: String?
    var isDryRun = false

    init() {}

    /// - Throws: 422 for an unknown policy.
    init(_ body: JSONValue, _ request: APIRequest) throws(APIFailure) {
        grace = body["gracePeriodSeconds"]?.int ?? request.query["gracePeriodSeconds"].flatMap { Int($0) }
        uid = body.at("preconditions", "uid")?.string
        resourceVersion = body.at("preconditions", "resourceVersion")?.string
        isDryRun = body["dryRun"]?.array?.contains("All") ?? (request.query["dryRun"] == "All")
        if let name = body["propagationPolicy"]?.string ?? request.query["propagationPolicy"] {
            guard let known = Propagation(rawValue: name) else {
                throw APIFailure(
                    422, "Invalid",
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"\(name)\"")
            }
            propagation = known
        }
        if body["orphanDependents"]?.bool == true { propagation = .orphan }
    }
}

extension StandInCluster {
    private static let foreground = "foregroundDeletion"
    private static let orphan = "orphan"

    /// DELETE ("Garbage Collection", "Finalizers", "Pod Lifecycle" for the grace period of pods).
    /// - Throws: 404; 409 if a precondition does not hold.
    func delete(_ key: ObjectKey, _ type: ResourceType, _ options: DeleteOptions) throws(APIFailure) -> JSONValue {
        guard let stored = storage.get(key) else { throw .notFound(type, key.name) }
        var object = stored.object
        if let uid = options.uid, uid != object.uid {
            throw .conflict(
                type, key.name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(object.uid)")
        }
        if let version = options.resourceVersion, version != object.resourceVersion {
            throw .conflict(
                type, key.name,
                "Precondition failed: ResourceVersion in precondition: \(version), ResourceVersion in object meta: "
                    + object.resourceVersion)
        }
        let details: JSONValue = [
            "name": .string(key.name), "kind": .string(type.plural), "uid": .string(object.uid),
            "group": .string(type.group),
        ]
        if options.isDryRun { return type == .pods ? object : APIFailure.success(details: details) }
        // "Jobs" of batch/v1 leave their pods behind unless a policy is given; kubectl gives one.
        let propagation = options.propagation ?? (type == .jobs ? .orphan : .background)
        var finalizers = object.finalizers.filter { ![Self.foreground, Self.orphan].contains($0) }
        switch propagation {
        case .foreground: finalizers.append(Self.foreground)
        case .orphan where !(dependents[object.uid] ?? []).isEmpty || type == .jobs: finalizers.append(Self.orphan)
        default: break
        }
        // A pod that is on a node, and has not ended, gets time to stop; only its kubelet ends it then.
        var grace: Int?
        if type == .pods, object.at("spec", "nodeName")?.string != nil, runsControllers {
            let isOver = ["Succeeded", "Failed"].contains(object.at("status", "phase")?.string ?? "")
            let wanted = options.grace ?? object.at("spec", "terminationGracePeriodSeconds")?.int ?? 30
            grace = isOver ? 0 : max(0, wanted)
            // A grace period can only be made shorter.
            if let current = object.metadata["deletionGracePeriodSeconds"]?.int { grace = min(current, grace ?? 0) }
        }
        let isNamespace = type == .namespaces
        if finalizers.isEmpty && (grace ?? 0) == 0 && !isNamespace {
            erase(key)
            return type == .pods ? object : APIFailure.success(details: details)
        }
        if !object.isDeleting || (grace ?? .max) < (object.metadata["deletionGracePeriodSeconds"]?.int ?? .max) {
            let time = clock.now + Double(grace ?? 0)
            object.set(.string(VirtualClock.timestamp(time)), "metadata", "deletionTimestamp")
            object.set(.integer(grace ?? 0), "metadata", "deletionGracePeriodSeconds")
            if isNamespace { object.set("Terminating", "status", "phase") }
        }
        object.set(
            finalizers.isEmpty ? nil : .array(finalizers.map(JSONValue.string)), "metadata", "finalizers")
        return object == stored.object ? object : store(key, object)
    }

    /// Whether an object without finalizers goes at once: a pod waits for its kubelet, a namespace for its content.
    func isReadyToGo(_ object: JSONValue, _ type: ResourceType) -> Bool {
        if type == .namespaces { return object.at("spec", "finalizers")?.array?.isEmpty ?? true }
        return (object.metadata["deletionGracePeriodSeconds"]?.int ?? 0) == 0
    }

    /// Removes a finalizer, and the object with its last one.
    func removeFinalizer(_ finalizer: String, of key: ObjectKey, _ type: ResourceType) {
        let object = modify(key) { object in
            let rest = object.finalizers.filter { $0 != finalizer }
            object.set(rest.isEmpty ? nil : .array(rest.map(JSONValue.string)), "metadata", "finalizers")
        }
        if let object, object.isDeleting, object.finalizers.isEmpty, isReadyToGo(object, type) { erase(key) }
    }

    func type(of key: ObjectKey) -> ResourceType? { types.first { $0.qualified == key.resource } }

    // MARK: the garbage collector

    /// "Garbage Collection": background, foreground and orphan deletion, by owner references.
    func collectGarbage(_ key: ObjectKey) {
        guard let object = storage.get(key)?.object, let type = type(of: key) else { return }
        if object.isDeleting {
            let children = dependents[object.uid] ?? []
            if object.finalizers.contains(Self.orphan) {
                for child in children.sorted() {
                    modify(child) { child in
                        let rest = child.ownerReferences.filter { $0["uid"]?.string != object.uid }
                        child.set(rest.isEmpty ? nil : .array(rest), "metadata", "ownerReferences")
                    }
                }
                return removeFinalizer(Self.orphan, of: key, type)
            }
            if object.finalizers.contains(Self.foreground) {
                var isBlocked = false
                for child in children.sorted() {
                    guard let dependent = storage.get(child)?.object, let kind = self.type(of: child) else { continue }
                    let reference = dependent.ownerReferences.first { $0["uid"]?.string == object.uid }
                    if reference?["blockOwnerDeletion"]?.bool == true { isBlocked = true }
                    if !dependent.isDeleting {
                        var options = DeleteOptions()
                        options.propagation = .foreground
                        _ = try? delete(child, kind, options)
                        if storage.get(child) == nil {
                            isBlocked = isBlocked && !(dependents[object.uid] ?? []).isEmpty
                        }
                    }
                }
                if !isBlocked || (dependents[object.uid] ?? []).isEmpty {
                    removeFinalizer(Self.foreground, of: key, type)
                }
                return
            }
        }
        guard !object.ownerReferences.isEmpty, !object.isDeleting else { return }
        let owners = object.ownerReferences.filter { owner(of: key, $0) != nil }
        if owners.isEmpty {
            var options = DeleteOptions()
            options.propagation = .background
            _ = try? delete(key, type, options)
        } else if owners.count < object.ownerReferences.count {
            modify(key) { $0.set(.array(owners), "metadata", "ownerReferences") }
        }
    }

    /// The object that an owner reference means; nil if it is gone. An owner in another namespace is none.
    func owner(of key: ObjectKey, _ reference: JSONValue) -> (key: ObjectKey, object: JSONValue)? {
        let version = reference["apiVersion"]?.string ?? ""
        let kind = reference["kind"]?.string ?? ""
        guard let type = types.first(where: { $0.kind == kind && $0.groupVersion == version }) else { return nil }
        let owner = ObjectKey(type, key.namespace, reference["name"]?.string ?? "")
        guard let found = storage.get(owner)?.object, found.uid == reference["uid"]?.string else { return nil }
        return (owner, found)
    }

    // MARK: namespaces

    func makeNamespace(_ name: String) {
        var space: JSONValue = [
            "kind": "Namespace", "apiVersion": "v1",
            "metadata": [
                "name": .string(name), "uid": .string(newUID()), "creationTimestamp": .string(clock.timestamp),
            ],
        ]
        Validation.setDefaults(&space, .namespaces)
        store(ObjectKey(.namespaces, "", name), space)
        makeServiceAccount(in: name)
    }

    /// "Namespaces" and "Configure Service Accounts": each namespace has the account `default` and the root's certificate.
    private func makeServiceAccount(in namespace: String) {
        let metadata: JSONValue = [
            "name": "default", "namespace": .string(namespace), "uid": .string(newUID()),
            "creationTimestamp": .string(clock.timestamp),
        ]
        let key = ObjectKey(.serviceAccounts, namespace, "default")
        guard storage.get(key) == nil else { return }
        store(key, ["kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata])
    }

    /// The namespace controller: everything in a namespace goes first, then the namespace ("Namespaces", "Terminating").
    func reconcileNamespace(_ key: ObjectKey) {
        guard let space = storage.get(key)?.object else { return }
        guard space.isDeleting else { return makeServiceAccount(in: key.name) }
        var remaining: [String: Int] = [:]
        var finalizers: [String: Int] = [:]
        for (child, stored) in storage.everything.sorted(by: { $0.key < $1.key }) where child.namespace == key.name {
            guard let type = type(of: child) else { continue }
            if !stored.object.isDeleting {
                var options = DeleteOptions()
                options.propagation = .background
                _ = try? delete(child, type, options)
            }
            guard let left = storage.get(child)?.object else { continue }
            remaining[child.resource, default: 0] += 1
            for finalizer in left.finalizers { finalizers[finalizer, default: 0] += 1 }
        }
        guard remaining.isEmpty else {
            let content = remaining.sorted { $0.key < $1.key }.map { "\($0.key) has \($0.value) resource instances" }
            let held = finalizers.sorted { $0.key < $1.key }.map { "\($0.key) in \($0.value) resource instances" }
            modify(key) { space in
                setCondition(
                    &space, "NamespaceContentRemaining", true, "SomeResourcesRemain",
                    "Some resources are remaining: " + content.joined(separator: ", "))
                setCondition(
                    &space, "NamespaceFinalizersRemaining", !held.isEmpty,
                    held.isEmpty ? "ContentHasNoFinalizers" : "SomeFinalizersRemain",
                    held.isEmpty
                        ? "All content-preserving finalizers finished"
                        : "Some content in the namespace has finalizers remaining: " + held.joined(separator: ", "))
            }
            return
        }
        modify(key) { $0.set([], "spec", "finalizers") }
        if space.finalizers.isEmpty { erase(key) }
    }

    /// Sets a condition; its transition time changes only with its status (API conventions, "Typical status properties").
    func setCondition(
        _ object: inout JSONValue, _ type: String, _ isTrue: Bool, _ reason: String = "", _ message: String = ""
    ) {
        var conditions = object.at("status", "conditions")?.array ?? []
        let index = conditions.firstIndex { $0["type"]?.string == type }
        let status = JSONValue.string(isTrue ? "True" : "False")
        var condition: JSONValue = index.map { conditions[$0] } ?? ["type": .string(type)]
        if condition["status"] != status {
            condition.set(.string(clock.timestamp), "lastTransitionTime")
            condition.set(status, "status")
        }
        condition.set(reason.isEmpty ? nil : .string(reason), "reason")
        condition.set(message.isEmpty ? nil : .string(message), "message")
        if let index { conditions[index] = condition } else { conditions.append(condition) }
        object.set(.array(conditions), "status", "conditions")
    }
}
