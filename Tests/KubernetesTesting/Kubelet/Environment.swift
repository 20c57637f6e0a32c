import Foundation
import JSON

/// What a container sees of Secrets and ConfigMaps ("Define Environment Variables for a Container", "Volumes").
extension StandInCluster {
    struct Missing: Error { let message: String }

    private func values(_ kind: ResourceType, _ name: String, _ namespace: String) -> [String: [UInt8]]? {
        guard let object = find(kind, namespace, name) else { return nil }
        return (object["data"]?.strings ?? [:]).mapValues {
            kind == .secrets ? Base64.decode($0) ?? [] : Array($0.utf8)
        }
    }

    private func source(_ reference: JSONValue, _ pod: JSONValue) throws(Missing) -> [String: [UInt8]] {
        let isSecret = reference["secretKeyRef"] ?? reference["secretRef"] != nil
        let own =
            reference["secretKeyRef"] ?? reference["secretRef"] ?? reference["configMapKeyRef"] ?? reference[
                "configMapRef"] ?? [:]
        let name = own["name"]?.string ?? ""
        let found = values(isSecret ? .secrets : .configMaps, name, pod.namespace)
        if let found { return found }
        guard own["optional"]?.bool == true else {
            throw Missing(message: "\(isSecret ? "secret" : "configmap") \"\(name)\" not found")
        }
        return [:]
    }

    func environment(of container: JSONValue, _ pod: JSONValue) throws(Missing) -> [String: String] {
        var environment: [String: String] = [:]
        for reference in container["envFrom"]?.array ?? [] {
            for (name, value) in try source(reference, pod) {
                environment[(reference["prefix"]?.string ?? "") + name] = String(decoding: value, as: UTF8.self)
            }
        }
        for variable in container["env"]?.array ?? [] {
            let name = variable["name"]?.string ?? ""
            guard let reference = variable["valueFrom"] else {
                environment[name] = variable["value"]?.string ?? ""
                continue
            }
            if let path = reference.at("fieldRef", "fieldPath")?.string {
                let value = pod.at(path.split(separator: ".").map(String.init))?.string
                environment[name] = value ?? (path == "status.podIP" ? nodes.pods[pod.uid]?.ip : nil)
                continue
            }
            let own = reference["secretKeyRef"] ?? reference["configMapKeyRef"] ?? [:]
            let key = own["key"]?.string ?? ""
            if let value = try source(reference, pod)[key] {
                environment[name] = String(decoding: value, as: UTF8.self)
            } else if own["optional"]?.bool != true {
                throw Missing(
                    message:
                        "couldn't find key \(key) in \(reference["secretKeyRef"] != nil ? "Secret" : "ConfigMap") \(pod.namespace)/\(own["name"]?.string ?? "")"
                )
            }
        }
        return environment
    }

    func files(of container: JSONValue, _ pod: JSONValue) throws(Missing) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for mount in container["volumeMounts"]?.array ?? [] {
            let volume = pod.at("spec", "volumes")?.array?.first { $0["name"] == mount["name"] }
            let path = mount["mountPath"]?.string ?? ""
            for source in volume?.at("projected", "sources")?.array ?? [volume ?? [:]] {
                let secret = source.at("secret", "secretName")?.string ?? source.at("secret", "name")?.string
                let map = source.at("configMap", "name")?.string
                if let token = source["serviceAccountToken"] {
                    let made = serviceAccountToken(
                        namespace: pod.namespace, name: pod.at("spec", "serviceAccountName")?.string ?? "default",
                        audiences: token["audience"]?.string.map { [$0] } ?? [],
                        seconds: token["expirationSeconds"]?.int ?? 3600, pod: pod)
                    files["\(path)/\(token["path"]?.string ?? "token")"] = made.map { Array($0.token.utf8) }
                }
                guard let name = secret ?? map else { continue }
                guard let values = values(secret != nil ? .secrets : .configMaps, name, pod.namespace) else {
                    if (source["secret"] ?? source["configMap"])?["optional"]?.bool == true { continue }
                    throw Missing(message: "\(secret != nil ? "secret" : "configmap") \"\(name)\" not found")
                }
                let items = (source["secret"] ?? source["configMap"])?["items"]?.array
                for (key, value) in values {
                    let item = items?.first { $0["key"]?.string == key }
                    if items != nil && item == nil { continue }
                    let file = item?["path"]?.string ?? key
                    if let only = mount["subPath"]?.string {
                        if only == file { files[path] = value }
                    } else {
                        files["\(path)/\(file)"] = value
                    }
                }
            }
        }
        return files
    }
}
