// What the dashboard uses of its copy of the client of Socket.IO.

export interface Socket {
  /** Whether it tries again by itself. */
  readonly active: boolean;
  on(event: string, listener: (data: any) => void): this;
  connect(): this;
  disconnect(): this;
}

export function io(namespace: string, options: { transports: string[] }): Socket;
