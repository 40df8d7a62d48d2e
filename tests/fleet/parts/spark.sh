# shellcheck shell=bash
# A cluster of Spark, one master and two workers on loopback, reads the segments of many volumes.
# shellcheck source-path=SCRIPTDIR source=../volumes.sh
source "$FLEET_HERE/volumes.sh"

install() {
    need jq jq
    need java default-jre-headless
    need_python pyspark==4.3.0
}

start() {
    volumes
    SPARK_HOME=$(python -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
    # Listen only here.
    export SPARK_HOME SPARK_LOCAL_IP=127.0.0.1 SPARK_DAEMON_MEMORY=256m SPARK_CONF_DIR=$WORK/conf
    # For so little data, compilation is not worthwhile.
    export JAVA_TOOL_OPTIONS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'
    mkdir conf
    # Otherwise one of the workers may finish everything before the other one is ready.
    cat >conf/spark-defaults.conf <<'END'
spark.scheduler.minRegisteredResourcesRatio 1
spark.sql.shuffle.partitions 4
spark.sql.codegen.wholeStage false
spark.executor.memory 512m
spark.ui.enabled false
spark.master.rest.enabled false
END
    local port n
    port=$(free_port)
    export SPARK_MASTER="spark://127.0.0.1:$port"
    service master "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master \
        --host 127.0.0.1 --port "$port" --webui-port 0
    within 60 grep -q 'New state: ALIVE' "$WORK/master.log"
    for n in 1 2; do
        service "worker-$n" "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \
            --host 127.0.0.1 --webui-port 0 --cores 1 --memory 1g \
            --work-dir "$WORK/worker-$n" "$SPARK_MASTER"
    done
    for n in 1 2; do
        within 60 grep -q 'Successfully registered with master' "$WORK/worker-$n.log"
    done
}

check() {
    cp "$(recipe question.spark.py)" "$VOLUMES"
    pass "the answer of runlog status" agrees spark sh -e "$(recipe question.spark.sh)"
    pass "both workers had a part in it" both_worked
}

both_worked() {
    local n
    for n in 1 2; do
        grep -rq 'Finished task' "$WORK/worker-$n"/*/*/stderr || return 1
    done
}
