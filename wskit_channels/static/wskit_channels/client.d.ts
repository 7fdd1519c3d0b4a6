/** Types of client.js. Durations are milliseconds. */

// -- the contract, which generated code (or you) can give as a type parameter

/** What one message type is. */
export interface MessageType {
  /** Absent or undefined: the message has no payload. */
  payload?: unknown;
  /** Extended meta, beside the standard keys. */
  meta?: object;
  /** What answers it; a type without one is no request. */
  response?: { type: string; payload?: unknown; meta?: object };
  /** What its progress frames hold. */
  progress?: unknown;
  /** Who sends it; both where it is missing. */
  from?: "client" | "server";
}

/** A contract: message types by name. Interfaces and type aliases both do. */
export type MessageTypes<M> = { [Type in keyof M]: MessageType };

/** The contract of a client without one: every type, anything in it. */
export interface AnyMessages {
  [type: string]: { payload: any; meta: any; response: { type: string; payload: any; meta: any }; progress: any };
}

export interface StandardMeta {
  timestamp?: number;
  correlationId?: string;
  [key: string]: unknown;
}

type Key<M> = keyof M & string;
type PayloadOf<T> = T extends { payload: infer P } ? P : undefined;
type MetaOf<T> = T extends { meta: infer E } ? E : {};
type ProgressOf<T> = T extends { progress: infer P } ? P : unknown;
type IsAny<T> = 0 extends 1 & T ? true : false;

/** A message as handlers and replies get it. */
export interface Message<Type extends string = string, Payload = unknown, Meta = {}> {
  type: Type;
  meta: StandardMeta & Meta;
  payload: Payload;
}

export type MessageOf<M, Type extends Key<M>> = Message<Type, PayloadOf<M[Type]>, MetaOf<M[Type]>>;

/** The types that the client may send, that the server may send, and that are requests. */
export type SentTypes<M> = { [T in Key<M>]: M[T] extends { from: "server" } ? never : T }[Key<M>];
export type ReceivedTypes<M> = { [T in Key<M>]: M[T] extends { from: "client" } ? never : T }[Key<M>];
export type RequestTypes<M> = { [T in Key<M>]: M[T] extends { response: object } ? T : never }[Key<M>];

/** The reply of a request type. */
export type ReplyOf<T> = T extends { response: infer R extends { type: string } }
  ? Message<R["type"], PayloadOf<R>, MetaOf<R>>
  : never;

/** A type, or an object that names it, and perhaps its response. */
export type Named<Type extends string> =
  | Type
  | { readonly type: Type; readonly response?: string | { readonly type: string } };

/** The payload, which may be left out only where the message has none. */
type Rest<T, Options> =
  IsAny<PayloadOf<T>> extends true
    ? [payload?: any, options?: Options]
    : [PayloadOf<T>] extends [undefined]
      ? [payload?: undefined, options?: Options]
      : [payload: PayloadOf<T>, options?: Options];

// -- options

export interface WsClientOptions {
  /** `ws:`, `wss:`, `http:` or `https:`, or relative to the page. */
  url: string | URL;
  /** Subprotocols to offer. */
  protocols?: string | string[];
  reconnect?: {
    /** Default true. */
    enabled?: boolean;
    /** Attempts in a row before giving up; default Infinity. */
    maxAttempts?: number;
    /** Ceiling of the first wait, doubled for each next one; default 300. */
    initialDelayMs?: number;
    /** Default 10,000. */
    maxDelayMs?: number;
    /** "full": anything from 0 to the ceiling; "none": the ceiling. Default "full". */
    jitter?: "full" | "none";
  };
  /** What happens to messages sent without a connection when `queueSize` of them wait; default "drop-newest". */
  queue?: "drop-oldest" | "drop-newest" | "off";
  /** Default 1,000. */
  queueSize?: number;
  /** Connect at the first message, unless `connect()` was called before; default false. */
  autoConnect?: boolean;
  /** Requests that may wait for an answer at one time; default 1,000. */
  pendingRequestsLimit?: number;
  /** For how long after a loss a request with an idempotency key may be sent again; default 60,000. */
  resendWindowMs?: number;
  auth?: {
    /** Asked before every attempt; `refresh` after the server has refused the last token. */
    getToken?: (context: { refresh: boolean }) => string | null | undefined | Promise<string | null | undefined>;
    /** How the token travels; default "query". */
    attach?: "query" | "protocol";
    /** Default "access_token", as the server's `TOKEN_PARAMETER`. */
    queryParam?: string;
    /** Default "bearer.", as the server's `TOKEN_SUBPROTOCOL_PREFIX`. */
    protocolPrefix?: string;
    /** Before or after the other subprotocols; default "append". */
    protocolPosition?: "append" | "prepend";
  };
  /** Ask a silent server for a sign of life; off unless given. Defaults 30,000 and 5,000. */
  heartbeat?: { intervalMs?: number; timeoutMs?: number };
  /** Makes the socket; for tests and for environments without a global WebSocket. */
  wsFactory?: (url: string, protocols: string[]) => WebSocket;
}

export interface SendOptions<Meta = Record<string, unknown>> {
  /** Extended meta; `clientId`, `receivedAt` and `correlationId` in it are left out. */
  meta?: Meta;
  correlationId?: string;
}

export interface RequestOptions<Meta = Record<string, unknown>, Progress = unknown> extends SendOptions<Meta> {
  /** From when the request is sent; the server is told. Default 30,000; Infinity: the server's own limit. */
  timeoutMs?: number;
  /** How long it may wait for a connection before it is sent; default for ever. */
  queueTimeoutMs?: number;
  /** Aborting stops the server's work as well. */
  signal?: AbortSignal;
  onProgress?: (value: Progress) => void;
  /** The server runs the request once whatever comes, so that it may be sent again after a loss. */
  idempotencyKey?: string;
}

// -- the client

export type ClientState = "closed" | "connecting" | "open" | "closing" | "reconnecting";

export interface StateInfo {
  /** Close code and reason, where the state follows the end of a connection. */
  code?: number;
  reason?: string;
  /** With "reconnecting": when the next attempt is made. */
  retryInMs?: number;
}

export interface ErrorContext {
  type: "parse" | "validation" | "overflow" | "server" | "auth" | "handler";
  details?: unknown;
}

export type Unsubscribe = () => void;

/** A request under way: the promise of its reply, and its progress to iterate over. */
export interface PendingCall<Reply, Progress = unknown> extends Promise<Reply>, AsyncIterable<Progress> {
  /** The same as aborting its signal. */
  abort(): void;
}

export declare class WsClient<M extends MessageTypes<M> = AnyMessages> {
  constructor(options: WsClientOptions);

  readonly state: ClientState;
  readonly isConnected: boolean;
  /** The subprotocol that the server selected, or "". */
  readonly protocol: string;

  /** Fails with a ConnectionClosedError when the client gives up. */
  connect(): Promise<void>;
  /** Forgets what is queued; pending requests fail. */
  close(options?: { code?: number; reason?: string }): Promise<void>;
  onState(callback: (state: ClientState, info: StateInfo) => void): Unsubscribe;
  onceOpen(): Promise<void>;

  on(type: "ERROR", handler: (message: Message<"ERROR" | "RPC_ERROR", ErrorPayload>) => void): Unsubscribe;
  on<Type extends ReceivedTypes<M>>(
    message: Named<Type>,
    handler: (message: MessageOf<M, Type>) => void,
  ): Unsubscribe;

  /** Whether it was sent or queued. Never throws. */
  send<Type extends SentTypes<M>>(
    message: Named<Type>,
    ...rest: Rest<M[Type], SendOptions<Partial<MetaOf<M[Type]>>>>
  ): boolean;

  request<Type extends RequestTypes<M>>(
    message: Named<Type>,
    ...rest: Rest<M[Type], RequestOptions<Partial<MetaOf<M[Type]>>, ProgressOf<M[Type]>>>
  ): PendingCall<ReplyOf<M[Type]>, ProgressOf<M[Type]>>;
  /** Names the reply's type: any other one fails the request. */
  request<Type extends RequestTypes<M>>(
    message: Named<Type>,
    payload: PayloadOf<M[Type]>,
    reply: Named<ReplyOf<M[Type]>["type"]> | undefined,
    options?: RequestOptions<Partial<MetaOf<M[Type]>>, ProgressOf<M[Type]>>,
  ): PendingCall<ReplyOf<M[Type]>, ProgressOf<M[Type]>>;

  onUnhandled(callback: (message: Message) => void): Unsubscribe;
  onError(callback: (error: Error, context: ErrorContext) => void): Unsubscribe;
}

export declare function wsClient<M extends MessageTypes<M> = AnyMessages>(options: WsClientOptions): WsClient<M>;

// -- errors

export type ErrorCode =
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "INVALID_ARGUMENT"
  | "FAILED_PRECONDITION"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "UNIMPLEMENTED"
  | "CANCELLED"
  | "DEADLINE_EXCEEDED"
  | "RESOURCE_EXHAUSTED"
  | "UNAVAILABLE"
  | "ABORTED"
  | "INTERNAL";

export interface ErrorPayload {
  /** One of the standard codes, or the application's own. */
  code: ErrorCode | (string & {});
  message: string;
  details?: Record<string, unknown>;
  retryable?: boolean;
  retryAfterMs?: number | null;
}

/** What every error of this module is. */
export declare class WsKitError extends Error {
  constructor(message: string, options?: ErrorOptions);
}

export declare class ValidationError extends WsKitError {
  constructor(message: string, issues?: { path: string[]; message: string }[], options?: ErrorOptions);
  readonly issues: { path: string[]; message: string }[];
}

export declare class TimeoutError extends WsKitError {
  constructor(timeoutMs: number, message?: string);
  readonly timeoutMs: number;
}

export declare class ServerError extends WsKitError {
  constructor(
    message: string,
    code: string,
    payload?: Omit<Partial<ErrorPayload>, "code" | "message"> & { correlationId?: string },
  );
  readonly code: ErrorPayload["code"];
  readonly details?: Record<string, unknown>;
  readonly retryable: boolean;
  /** Milliseconds to wait before trying again; null: never; undefined: your own backoff. */
  readonly retryAfterMs?: number | null;
  readonly correlationId?: string;
}

export declare const RpcError: typeof ServerError;
export type RpcError = ServerError;

export declare class ConnectionClosedError extends WsKitError {
  constructor(message: string, code?: number, reason?: string, options?: ErrorOptions);
  readonly code: number;
  readonly reason: string;
}

export declare class StateError extends WsKitError {}
