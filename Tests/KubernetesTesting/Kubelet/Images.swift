import AsyncHTTPClient
import Foundation
public import JSON
import NIOCore
import NIOHTTP1
import NIOSSL

/// How a container's `imageID` is written.
public enum ImageForm: Sendable {
    /// `registry/repository@sha256:…` of what the reference names, an index if it is one.
    case containerd
    /// `registry/repository@sha256:…` of the manifest for the node's platform.
    case crio
    /// `docker-pullable://registry/repository@sha256:…`
    case criDockerd
    /// `docker://sha256:…`, the configuration's digest: cri-dockerd for an image that has no digest in a registry.
    case criDockerdLocal

    var runtime: String {
        switch self {
        case .containerd: "containerd"
        case .crio: "cri-o"
        case .criDockerd, .criDockerdLocal: "docker"
        }
    }
}

/// An image that a kubelet pulls.
public struct ImagePull: Sendable {
    public let image: String
    public let pod: JSONValue
    /// From the pod's `imagePullSecrets`, those that fit the image first ("Pull an Image from a Private Registry").
    public let credentials: [(user: String, password: String)]
    /// Of the pod's service account, for a credential provider.
    public let token: @Sendable (_ audience: String) async -> String?
}

/// What was pulled.
public struct PulledImage: Sendable {
    /// `sha256:…` of what the reference names.
    public var digest: String
    /// Of the manifest for the node's platform: the same unless that was an index.
    public var manifest: String
    public var config: String

    public init(digest: String, manifest: String, config: String) {
        self.digest = digest
        self.manifest = manifest
        self.config = config
    }
}

public struct PullFailure: Error, Sendable {
    public var message: String
    public init(_ message: String) { self.message = message }
}

public typealias PullResult = Result<PulledImage, PullFailure>

extension StandInCluster {
    /// - Returns: the image's id in the form of the node's runtime.
    func pull(_ image: String, for pod: JSONValue, policy: String) async -> Result<String, PullFailure> {
        let node = pod.at("spec", "nodeName")?.string ?? ""
        let parts = Self.parts(of: image)
        if policy != "Always", let known = nodes.images[node]?[image] { return .success(known) }
        if policy == "Never" {
            return .failure(PullFailure("Container image \"\(image)\" is not present with pull policy of Never"))
        }
        let pulled: PulledImage
        if let puller = nodes.puller {
            let (namespace, account) = (pod.namespace, pod.at("spec", "serviceAccountName")?.string ?? "default")
            let pull = ImagePull(
                image: image, pod: pod, credentials: credentials(for: image, pod),
                token: { [weak self] audience in
                    await self?.serviceAccountToken(
                        namespace: namespace, name: account, audiences: [audience], pod: pod)?
                        .token
                })
            switch await puller(pull) {
            case .success(let image): pulled = image
            case .failure(let failure):
                return .failure(PullFailure("Failed to pull image \"\(image)\": \(failure.message)"))
            }
        } else {
            // A node that has every image: what the reference says, or a digest made of it.
            let digest = parts.digest ?? "sha256:" + (0..<8).map { _ in Self.hex(image) }.joined()
            pulled = PulledImage(digest: digest, manifest: digest, config: digest)
        }
        if nodes.pulls.count < 100_000 { nodes.pulls.append(image) }
        let id: String
        switch nodes.imageForm {
        case .containerd: id = "\(parts.repository)@\(pulled.digest)"
        case .crio: id = "\(parts.repository)@\(pulled.manifest)"
        case .criDockerd: id = "docker-pullable://\(parts.repository)@\(pulled.digest)"
        case .criDockerdLocal: id = "docker://\(pulled.config)"
        }
        nodes.images[node, default: [:]][image] = id
        return .success(id)
    }

    private static func hex(_ text: String) -> String {
        var hash: UInt32 = 2_166_136_261
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        let hex = String(hash, radix: 16)
        return String(repeating: "0", count: 8 - hex.count) + hex
    }

    /// A reference in its parts: without a tag and a digest it means `latest`.
    static func parts(of image: String) -> (repository: String, tag: String, digest: String?) {
        let halves = image.split(separator: "@", maxSplits: 1).map(String.init)
        let name = halves.first ?? ""
        let last = name.lastIndex(of: "/") ?? name.startIndex
        guard let colon = name[last...].lastIndex(of: ":") else {
            return (name, "latest", halves.dropFirst().first)
        }
        return (String(name[..<colon]), String(name[name.index(after: colon)...]), halves.dropFirst().first)
    }

    /// What `kubernetes.io/dockerconfigjson` says for an image's registry, longer paths first.
    private func credentials(for image: String, _ pod: JSONValue) -> [(user: String, password: String)] {
        var found: [(String, (user: String, password: String))] = []
        for reference in pod.at("spec", "imagePullSecrets")?.array ?? [] {
            guard
                let text = find(.secrets, pod.namespace, reference.string ?? reference["name"]?.string ?? "")?.at(
                    "data", ".dockerconfigjson")?.string,
                let bytes = Base64.decode(text), let config = try? JSONValue(parsing: bytes)
            else { continue }
            for (server, entry) in config["auths"]?.object ?? [:] {
                let place = server.replacing("https://", with: "").replacing("/v1/", with: "")
                guard image == place || image.hasPrefix(place + "/") else { continue }
                var (user, password) = (entry["username"]?.string, entry["password"]?.string)
                if let auth = entry["auth"]?.string.flatMap(Base64.decode) {
                    let parts = String(decoding: auth, as: UTF8.self).split(
                        separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                    if parts.count == 2 { (user, password) = (String(parts[0]), String(parts[1])) }
                }
                if let user, let password { found.append((place, (user, password))) }
            }
        }
        return found.sorted { $0.0.count > $1.0.count }.map(\.1)
    }
}

/// Pulls manifests and configurations from live registries over HTTPS, as a kubelet's runtime does, without the layers.
public struct RegistryPuller: Sendable {
    private let client: HTTPClient
    /// Credentials besides those of pull secrets, as a kubelet's credential provider gives them.
    private let provider: (@Sendable (ImagePull) async -> (user: String, password: String)?)?

    /// - Parameter authority: the PEM of the registry's authority, as `hosts.toml` names it.
    public init(
        authority: String, provider: (@Sendable (ImagePull) async -> (user: String, password: String)?)? = nil
    ) throws {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.utf8)))
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.timeout = .init(connect: .seconds(5), read: .seconds(10))
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        self.provider = provider
    }

    public func shutdown() async throws { try await client.shutdown() }

    private static let accept =
        "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
        + "application/vnd.docker.distribution.manifest.list.v2+json, "
        + "application/vnd.docker.distribution.manifest.v2+json"

    public func pull(_ pull: ImagePull) async -> PullResult {
        let parts = StandInCluster.parts(of: pull.image)
        let place = parts.repository.split(separator: "/", maxSplits: 1).map(String.init)
        guard place.count == 2 else { return .failure(PullFailure("no registry in the reference")) }
        let base = "https://\(place[0])/v2/\(place[1])"
        var credentials: [(user: String, password: String)?] = pull.credentials
        if let provided = await provider?(pull) { credentials.insert(provided, at: 0) }
        var failure = PullFailure("no credentials")
        for own in credentials.isEmpty ? [nil] : credentials {
            do {
                return .success(try await fetch(base, parts.digest ?? parts.tag, own))
            } catch let error as PullFailure {
                failure = error
            } catch {
                failure = PullFailure("\(error)")
            }
        }
        return .failure(failure)
    }

    private func fetch(_ base: String, _ reference: String, _ credentials: (user: String, password: String)?)
        async throws -> PulledImage
    {
        let (manifest, digest) = try await get("\(base)/manifests/\(reference)", credentials)
        guard !reference.hasPrefix("sha256:") || reference == digest else {
            throw PullFailure("failed size validation: the registry answered other bytes")
        }
        var (child, childDigest) = (manifest, digest)
        if let manifests = manifest["manifests"]?.array {
            let fitting = manifests.first {
                $0.at("platform", "os")?.string == "linux" && $0.at("platform", "architecture")?.string == "amd64"
            }
            guard let own = fitting?["digest"]?.string else {
                throw PullFailure("no match for platform in manifest: not found")
            }
            (child, childDigest) = try await get("\(base)/manifests/\(own)", credentials)
        }
        guard let config = child.at("config", "digest")?.string else { throw PullFailure("the manifest has no config") }
        let (_, configDigest) = try await get("\(base)/blobs/\(config)", credentials)
        guard configDigest == config else { throw PullFailure("the config's bytes are not those of its digest") }
        return PulledImage(digest: digest, manifest: childDigest, config: config)
    }

    private func get(_ url: String, _ credentials: (user: String, password: String)?) async throws -> (
        JSONValue, String
    ) {
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "Accept", value: Self.accept)
        if let credentials { request.setBasicAuth(username: credentials.user, password: credentials.password) }
        let response = try await client.execute(request, timeout: .seconds(10))
        let bytes = Array(try await response.body.collect(upTo: 8 << 20).readableBytesView)
        guard response.status == .ok else {
            throw PullFailure("unexpected status from GET request to \(url): \(response.status)")
        }
        return (try JSONValue(parsing: bytes), TestAuthority.digest(bytes))
    }
}
