import TestSupport

/// A program that pulls images and runs them, with its state in a directory of its own.
protocol ContainerClient {
    var name: String { get }

    func pull(_ image: String) async throws

    /// Pushes an image that it has, under the name that it has.
    func push(_ image: String) async throws

    /// Gives an image that it has another name.
    func tag(_ image: String, as name: String) async throws

    /// Takes an image from an archive as `docker save` writes them (`docker-archive`).
    /// - Parameter name: by which the archive calls it.
    func load(_ archive: String, named name: String) async throws

    /// A digest that is the same when the image was pushed and pulled back: its config's, or its manifest's.
    func identity(of image: String) async throws -> String

    /// Forgets an image, so that it has to be pulled again.
    func remove(_ image: String) async throws

    /// Starts a container in the host's network and returns once it runs.
    func start(_ container: String, of image: String, environment: [String: String], arguments: [String]) async throws

    /// Sends TERM, waits a few seconds and removes the container.
    /// - Returns: its exit status.
    func stop(_ container: String) async throws -> Int32

    /// Runs a program in a running container, and gives what it printed.
    func execute(_ words: [String], in container: String) async throws -> String

    /// What the container wrote so far.
    func output(of container: String) async throws -> String

    /// Ends whatever the client left running.
    func shutDown() async throws
}

/// Makes a client in a temporary directory, gives it to the body and shuts it down, whatever happens.
func withClient<Client: ContainerClient, Value>(
    _ make: (RegistryAccess, String) async throws -> Client, _ registry: RegistryAccess,
    _ body: (Client) async throws -> Value
) async throws -> Value {
    try await withTemporaryDirectory { directory in
        let client = try await make(registry, directory)
        do {
            let value = try await body(client)
            try await client.shutDown()
            return value
        } catch {
            // The body's error is the one to report.
            try? await client.shutDown()
            throw error
        }
    }
}
